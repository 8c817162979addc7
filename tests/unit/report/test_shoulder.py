"""Pictures and page of a graded shoulder: the labels' colours, the tangent, the crop, every number and flag."""

import re

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from myotome.biomarkers.rotator_cuff import measure_supraspinatus
from myotome.geometry import Grid, Volume, reorient
from myotome.measurement import CaseResult, Grading, Provenance
from myotome.report.flag_meanings import describe_flag
from myotome.report.shoulder import write_shoulder_overview, write_shoulder_thumbnail
from myotome.report.shoulder_page import write_shoulder_report
from myotome.report.thumbnail import THUMBNAIL_SIZE
from myotome.structures import LabelMap
from tests.unit.phantoms.shoulders import SCHEMA, SPACING_MM, make_shoulder_case
from tests.unit.report.test_overview import hue_share

LINE, BOX = (255, 212, 0), (0, 213, 255)


def make_result(codes="PIR", graded=True, labelled=True, flags=()):
    volume, label_map = make_shoulder_case(slices=3, y_view=1)
    array, affine = reorient(volume.array, volume.grid.affine, codes)
    labels, _ = reorient(label_map.array, volume.grid.affine, codes)
    grid = Grid(array.shape, affine)
    volume = Volume(np.ascontiguousarray(array), grid, "MR", volume.acquisition)
    label_map = LabelMap(np.ascontiguousarray(labels) * np.uint8(labelled), grid, SCHEMA)
    spot = np.zeros((96, 96), np.float32)
    spot[40:56, 40:56] = 1
    box = (36 * SPACING_MM, 38 * SPACING_MM, 41 * SPACING_MM, 41 * SPACING_MM)
    shares = {"A": 0.91, "B": 0.95, "C": 0.3, "D": 0.9, "E": 0.8}
    grading = Grading(
        1,
        "slice 1 (from 0) of 3 shows all",
        shares,
        (0.02, 0.03, 0.05, 0.85, 0.05),
        spot,
        spot,
        spot,
        "definition A",
        box,
    )
    graded = grading if graded and labelled else None
    rows, found = measure_supraspinatus(volume, label_map, graded)
    provenance = Provenance("supraspinatus_mri_classification", "0.1.0", "ab" * 32, {}, "cpu", {"name": "<i>mr</i>"})
    return volume, CaseResult(label_map, rows, provenance, (*found, *flags), graded)


def coloured(picture, colour):
    return np.abs(picture[..., :3] * 255 - colour).max(axis=-1) < 40


@pytest.mark.parametrize("codes", ["PIR", "RAS", "LPS"])
def test_labels_tangent_and_crop_are_drawn_upright_whatever_the_axes(tmp_path, codes):
    volume, result = make_result(codes)
    write_shoulder_overview(tmp_path / "overview.png", volume, result)
    picture = imread(tmp_path / "overview.png")
    panel = (1650 - 390.5 - 4 * 8.8) / 3
    plain, labelled, crop = (slice(int(8.8 + n * (panel + 8.8)), int((n + 1) * (panel + 8.8))) for n in range(3))
    rows = slice(68, 68 + int(panel))
    where = {
        name: hue_share(picture[rows, labelled], SCHEMA[name].colour) for name in ("scapular_spine", "coracoid_process")
    }
    assert all(mask.sum() > 200 for mask in where.values())
    # Anterior is on the left: the coracoid process lies left of the scapular spine.
    assert np.nonzero(where["coracoid_process"])[1].mean() < np.nonzero(where["scapular_spine"])[1].mean() - 50
    assert not hue_share(picture[rows, plain], SCHEMA["scapular_spine"].colour).any()
    line = np.nonzero(coloured(picture[rows, labelled], LINE))
    assert line[0].size > 50
    # The tangent lies above the muscle; both bones begin at row 40 of 128.
    assert np.median(line[0]) / panel == pytest.approx(40 / 128, abs=0.02)
    edge = np.nonzero(coloured(picture[rows, labelled], BOX))
    assert edge[1].min() / panel == pytest.approx(36 / 128, abs=0.02)
    assert edge[0].max() / panel == pytest.approx((38 + 41) / 128, abs=0.02)
    attention = picture[rows, crop][..., 0] - picture[rows, crop][..., 2]
    hot = np.nonzero(attention > 0.3)
    assert [np.mean(axis) / panel for axis in hot] == pytest.approx([0.5, 0.5], abs=0.05)


def test_the_same_case_gives_the_same_bytes(tmp_path):
    volume, result = make_result()
    for name in ("a", "b"):
        write_shoulder_overview(tmp_path / f"{name}.png", volume, result)
        write_shoulder_thumbnail(tmp_path / f"{name}.webp", volume, result)
        write_shoulder_report(tmp_path / f"{name}.html", volume, result, tmp_path / f"{name}.png")
    for ending in ("png", "webp", "html"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_the_thumbnail_shows_the_y_view_twice_and_labels_it_once(tmp_path):
    volume, result = make_result()
    write_shoulder_thumbnail(tmp_path / "a.webp", volume, result)
    assert (tmp_path / "a.webp").stat().st_size <= 6000
    picture = np.asarray(Image.open(tmp_path / "a.webp").convert("RGB"), dtype=float) / 255
    assert picture.shape[1::-1] == THUMBNAIL_SIZE
    blue = hue_share(picture, SCHEMA["scapular_spine"].colour)
    assert blue[:, 144:].sum() > 20 and blue[:, :144].sum() == 0


def test_the_page_gives_group_probabilities_measures_and_flags(tmp_path):
    volume, result = make_result(flags=("retraction_suspected",))
    write_shoulder_report(tmp_path / "report.html", volume, result, None)
    text = (tmp_path / "report.html").read_text()
    assert "Most probable group: <strong>grade 3-4</strong>; most probable grade: <strong>3</strong>" in text
    assert "slice 1 (from 0) of 3 shows all" in text
    cells = re.findall(r'<tr><th scope="row">([A-E])</th><td>([^<]*)</td><td class="number">([\d.]+)</td>', text)
    assert cells[0] == ("A", "grades 3-4 against 0-1", "91.0") and len(cells) == 5
    for word in (
        "4.8 cm²",
        "Occupation ratio",
        "75.8 %",
        "Fat fraction, Gaussian mixture",
        "positive: the muscle lies",
    ):
        assert word in text, word
    assert describe_flag("retraction_suspected") in text
    assert "can mislead in a retracted tear" in text
    assert "<i>mr" not in text and "&lt;i&gt;mr" in text
    assert "T2" in text and "80 ms" in text


def test_without_a_supraspinatus_there_is_a_page_and_no_grade(tmp_path):
    volume, result = make_result(labelled=False)
    write_shoulder_overview(tmp_path / "overview.png", volume, result)
    write_shoulder_report(tmp_path / "report.html", volume, result, tmp_path / "overview.png")
    text = (tmp_path / "report.html").read_text()
    assert describe_flag("no_supraspinatus_found") in text
    assert "Most probable" not in text and "absent" in text


FLAGS = """not_oblique_sagittal wrong_sequence poor_signal eight_bit truncated fossa_absent fat_suppressed
several_slices_labelled within_a_voxel no_common_tangent scapular_spine_absent coracoid_process_absent"""


@pytest.mark.parametrize("flag", re.findall(r"\w+", FLAGS))
def test_every_flag_of_a_shoulder_is_explained(flag):
    assert describe_flag(flag) != f"{flag.replace('_', ' ').capitalize()}."
