"""Pictures and page of muscle and fat at L3: contours, tissues by density, the line on the scout, every number."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from myotome.biomarkers.body_composition import measure_body_composition
from myotome.geometry import Grid, Volume, reorient
from myotome.measurement import CaseResult, Level, Provenance, Subject
from myotome.report.flag_meanings import describe_flag
from myotome.report.l3_muscle import TISSUES, classify_tissues, write_l3_overview, write_l3_thumbnail
from myotome.report.l3_muscle_page import write_l3_report
from myotome.report.planes import Cut
from myotome.report.thumbnail import THUMBNAIL_SIZE
from myotome.structures import LabelMap
from tests.unit.biomarkers.abdomens import IMAT, LAMA, NAMA, SCHEMA, SUBCUTANEOUS, VISCERAL, make_abdomen_case
from tests.unit.report.test_overview import hue_share

LINE = (0, 213, 255)
LEVEL = Level(3, 115.0, 0.93, "by its transverse processes")


def make_result(codes="RAS", slices=7, labelled=(3,), level=LEVEL, sex="M", flags=()):
    volume, label_map = make_abdomen_case(slices, labelled)
    array, affine = reorient(volume.array, volume.grid.affine, codes)
    labels, _ = reorient(label_map.array, volume.grid.affine, codes)
    grid = Grid(array.shape, affine)
    volume = Volume(np.ascontiguousarray(array), grid)
    label_map = LabelMap(np.ascontiguousarray(labels), grid, SCHEMA)
    if level is not None and "I" in codes:
        level = replace(level, slice_index=slices - 1 - level.slice_index)
    rows, found = measure_body_composition(volume, label_map, height_m=1.7, level=level)
    provenance = Provenance("l3_muscle_ct_segmentation", "0.1.0", "ab" * 32, {}, "cpu", {"name": "<i>ct</i>"})
    return volume, CaseResult(label_map, rows, provenance, (*found, *flags), None, level, Subject(1.7, sex))


def test_tissues_are_what_is_measured():
    volume, label_map = make_abdomen_case()
    plane = Cut(volume.array[..., 3], label_map.array[..., 3], (4.0, 4.0), ("", "", "", ""))
    counts = np.bincount(classify_tissues(plane).labels.ravel(), minlength=6)[1:]
    assert counts.tolist() == [NAMA, LAMA, IMAT, SUBCUTANEOUS, VISCERAL]
    assert [structure.index for structure in TISSUES.structures] == [1, 2, 3, 4, 5]


def panels(picture):
    """The first two panels and the column of the scout, cut from the overview (15 inches at 110 dpi)."""
    width = (15 - 3.55 - 4 * 0.08 - 2.5) / 2
    lefts = (0.08, 0.16 + width, 0.24 + 2 * width)
    rows = slice(int(0.62 * 110), picture.shape[0] - int(0.62 * 110))
    return [
        picture[rows, round(left * 110) : round((left + across) * 110)]
        for left, across in zip(lefts, (width, width, 2.5), strict=True)
    ]


def coloured(picture, colour):
    return np.abs(picture[..., :3] * 255 - colour).max(axis=-1) < 60


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL", "LPI"])
def test_contours_tissues_and_the_level_are_drawn_whatever_the_axes(tmp_path, codes):
    volume, result = make_result(codes)
    write_l3_overview(tmp_path / "overview.png", volume, result)
    outlined, painted, scout = panels(imread(tmp_path / "overview.png"))
    colours = {structure.name: structure.colour for structure in TISSUES.structures}
    share = {name: hue_share(painted, colour).sum() for name, colour in colours.items()}
    assert share["subcutaneous"] > 2 * share["visceral"] > 0
    assert not hue_share(outlined, colours["lama_area"]).sum() > share["lama_area"]
    # Posterior fat lies below, and the patient's right (larger x) on the viewer's left: the muscle's box is there not.
    rows, columns = np.nonzero(hue_share(painted, colours["subcutaneous"]))
    assert rows.mean() > 0.6 * painted.shape[0]
    _, columns = np.nonzero(hue_share(painted, colours["nama_area"]))
    assert columns.mean() > 0.6 * painted.shape[1]
    # Slice 3 of 7 is the middle one: the line lies in the middle of both scouts.
    line, half = np.nonzero(coloured(scout, LINE))[0], scout.shape[0] / 2
    for part in (line[line < half], line[line >= half] - half):
        assert part.size > 100
        assert np.median(part) / half == pytest.approx(0.5, abs=0.04)


def test_one_slice_has_no_scout_and_the_same_input_gives_the_same_bytes(tmp_path):
    volume, result = make_result(slices=1, labelled=(0,), level=Level(0, 100.0))
    for name in ("a.png", "b.png"):
        write_l3_overview(tmp_path / name, volume, result)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not coloured(imread(tmp_path / "a.png"), LINE).any()


def test_without_labels_the_slice_is_plain(tmp_path):
    volume, result = make_result(labelled=(), level=None)
    write_l3_overview(tmp_path / "overview.png", volume, result)
    picture = imread(tmp_path / "overview.png")
    first, second, _ = panels(picture)
    assert all(not hue_share(first, s.colour).any() for s in SCHEMA.structures)
    assert all(not hue_share(second, s.colour).any() for s in TISSUES.structures)


def test_the_thumbnail_shows_the_slice_plain_and_labelled(tmp_path):
    volume, result = make_result()
    write_l3_thumbnail(tmp_path / "t.webp", volume, result)
    assert (tmp_path / "t.webp").stat().st_size <= 6000
    picture = np.asarray(Image.open(tmp_path / "t.webp").convert("RGB")) / 255
    assert picture.shape[1::-1] == THUMBNAIL_SIZE
    plain, labelled = picture[:, :144], picture[:, 144:]
    saturation = [np.ptp(part, axis=-1).mean() for part in (plain, labelled)]
    assert saturation[1] > 5 * saturation[0]


def read_page(tmp_path, **details):
    volume, result = make_result(**details)
    write_l3_report(tmp_path / "report.html", volume, result, None)
    return (tmp_path / "report.html").read_text()


def test_the_page_has_level_values_and_cutoffs_with_their_source(tmp_path):
    page = read_page(tmp_path)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "L3 is slice 3 (from 0), at 115.0 mm; confidence: 93 %" in text
    assert "Muscle area (SMA) 30.6 cm² below the cut-off of 144.3 cm² (men)" in text
    assert "Muscle index (SMI) 10.6 cm²/m² below the cut-off of 45.4 cm²/m² (men)" in text
    assert "40.1 HU not below the cut-off of 38.5 HU (men)" in text
    assert "Derstine et al., Sci Rep 2018;8:11369" in text and "they are not a diagnosis" in text
    assert "sarcopeni" not in text.lower()
    assert "&lt;i&gt;ct&lt;/i&gt;" in page and "<i>ct</i>" not in page
    assert "http" not in page and "Slice by slice" not in page


def test_without_a_sex_no_cutoff_is_shown_and_the_page_says_why(tmp_path):
    page = read_page(tmp_path, sex=None)
    assert "cut-off of" not in page and "sex is not known, so no cut-offs" in page


def test_each_averaged_slice_has_its_column(tmp_path):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", read_page(tmp_path, labelled=(2, 3, 4))))
    assert "mean of 3 slices" in text
    assert "slice 2 slice 3 slice 4" in text
    assert "Muscle area (SMA) 30.6 cm² 30.6 cm² 30.6 cm²" in text


@pytest.mark.parametrize(
    "flag",
    ["height_unknown", "body_truncated", "sharp_kernel", "tube_voltage_not_120", "not_axial", "level_given"]
    + ["level_unsure", "level_not_labelled", "many_slices_labelled"],
)
def test_every_flag_has_its_sentence(flag):
    sentence = describe_flag(flag)
    assert sentence.endswith(".") and sentence != f"{flag.replace('_', ' ').capitalize()}."
