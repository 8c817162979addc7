"""Page and pictures of bone density: the numbers that were measured, and the reasons where there are none."""

import re

import pytest
from PIL import Image

from myotome.pipeline.case import measure_label_map
from myotome.report.bone_density import describe_class, list_levels, write_bone_overview, write_bone_thumbnail
from myotome.report.bone_density_page import write_bone_report
from tests.unit.biomarkers.spines import Spine, make_spine


@pytest.fixture(scope="module")
def case():
    volume, labels = make_spine(Spine(bmd={"T12": 150.0, "L1": 60.0, "L2": 50.0}, noise_hu=20, crushed={"T12": 0.5}))
    return volume, measure_label_map(volume, labels, source="scan.nii.gz")


def page(volume, result, tmp_path):
    write_bone_report(tmp_path / "report.html", volume, result, None)
    return re.sub(r"\s+", " ", (tmp_path / "report.html").read_text())


def test_the_page_says_mean_class_bodies_and_references(case, tmp_path):
    text = page(*case, tmp_path)
    rows = {(row.structure, row.measure): row for row in case[1].measurements}
    mean = rows["vertebral_column", "bmd"]
    assert f"<strong>{mean.value:.1f} ({mean.lower:.1f} to {mean.upper:.1f}) mg/cm³</strong>" in text
    assert "osteoporosis range" in text
    assert "below it (below 81.0 mg/cm3 K2HPO4" in text
    assert "mean of L1 and L2" in text
    assert re.search(r'<th scope="row">T12</th><td class="number">–</td>.*?fractured', text)
    assert re.search(r"Subcutaneous fat</th><td class=\"number\">-10\d\.\d", text)
    assert "K2HPO4" in text
    assert "not a diagnosis" in text


def test_without_a_density_the_page_says_why(tmp_path):
    volume, labels = make_spine(Spine(tissue_hu={"blood": 190.0}))
    text = page(volume, measure_label_map(volume, labels), tmp_path)
    assert "No density is given." in text
    assert "Blood in the aorta has 190 HU" in text
    assert "HU, not calibrated" in text


def test_a_case_without_bodies_has_a_page_and_pictures(case, tmp_path):
    volume, labels = make_spine(Spine(left_out=tuple(f"vertebral_body_{level}" for level in ("t12", "l1", "l2"))))
    result = measure_label_map(volume, labels)
    assert "no vertebral body is labelled" in page(volume, result, tmp_path)
    write_bone_overview(tmp_path / "overview.png", volume, result)
    assert Image.open(tmp_path / "overview.png").width > 1000


def test_pictures_are_the_same_bytes_again_and_small(case, tmp_path):
    for name in ("a", "b"):
        write_bone_overview(tmp_path / f"{name}.png", *case)
        write_bone_thumbnail(tmp_path / f"{name}.webp", *case)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.webp").read_bytes() == (tmp_path / "b.webp").read_bytes()
    assert (tmp_path / "a.webp").stat().st_size <= 6000
    assert Image.open(tmp_path / "a.webp").size == (288, 128)


def test_levels_and_class_in_words(case):
    assert list(list_levels(case[1])) == ["T12", "L1", "L2"]
    assert describe_class(case[1]) == "osteoporosis range"
    volume, labels = make_spine(Spine(bmd={"T11": 100.0, "T12": 90.0}))
    assert describe_class(measure_label_map(volume, labels)) == "withheld: thoracic levels"
