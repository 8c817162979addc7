"""Pictures and page of lumbar discs: which slice is shown, colours, boxes, every number and flag."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from myotome.biomarkers.lumbar_disc import measure_discs
from myotome.measurement import CaseResult, Instance, Provenance
from myotome.report.flag_meanings import describe_flag
from myotome.report.lumbar_disc import find_shown_slices, write_disc_overview, write_disc_thumbnail
from myotome.report.lumbar_disc_page import write_disc_report
from myotome.report.thumbnail import THUMBNAIL_SIZE
from myotome.structures import LabelMap
from tests.unit.biomarkers.discs import NAMES, SCHEMA, draw_axial, draw_sagittal

SPACING_MM = (8.0, 1.0, 1.0)


def make_result(case, instances=(), flags=()):
    volume, label_map = case
    measurements, found = measure_discs(volume, label_map, instances)
    provenance = Provenance("lumbar_disc_mri_segmentation", "0.1.0", "ab" * 32, {}, "cpu", {"name": "<i>mr.nii.gz"})
    return CaseResult(label_map, measurements, provenance, (*found, *flags), instances=tuple(instances))


def hue_share(picture, colour, fill=0.38):
    """Pixels whose hue is that of a label."""
    rgb = picture[..., :3].astype(float)
    tint = np.array(colour) / 255
    apart = rgb - rgb.mean(axis=-1, keepdims=True)
    wanted = tint - tint.mean()
    strength = np.linalg.norm(apart, axis=-1)
    return (apart @ wanted > 0.95 * strength * np.linalg.norm(wanted)) & (strength > 0.1)


def test_the_sagittal_slice_that_shows_most_discs_is_shown():
    volume, label_map = draw_sagittal(SPACING_MM)
    labels = label_map.array.copy()
    labels[:4][labels[:4] != 3] = 0  # slices 2 and 3 show one disc, 4 to 7 all five
    labels[5, :, :] = np.where(labels[5] == 2, 2, 0)
    labels[6:] = 0
    label_map = LabelMap(labels, label_map.grid, SCHEMA)
    assert find_shown_slices(make_result((volume, label_map))) == [4]


def test_the_two_largest_axial_cuts_are_shown():
    volume, label_map = draw_axial(slices=6, labelled=(1, 2, 4))
    labels = label_map.array.copy()
    labels[:80, :, 2], labels[:60, :, 1] = 0, 0
    assert find_shown_slices(make_result((volume, LabelMap(labels, label_map.grid, SCHEMA)))) == [4, 1]
    empty = LabelMap(np.zeros_like(labels), label_map.grid, SCHEMA)
    assert find_shown_slices(make_result((volume, empty))) == [3]


def test_the_overview_is_plain_on_the_left_and_has_every_disc_on_the_right(tmp_path):
    case = draw_sagittal(SPACING_MM)
    instances = [Instance("disc_l5_s1", 0.9, ((2, 20, 20), (8, 70, 40)))]
    write_disc_overview(tmp_path / "one.png", case[0], make_result(case, instances))
    write_disc_overview(tmp_path / "two.png", case[0], make_result(case, instances))
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    picture = imread(tmp_path / "one.png")
    panel = (picture.shape[1] * 0.38, picture.shape[1] * 0.76)
    for name in NAMES:
        columns = np.flatnonzero(hue_share(picture, SCHEMA[name].colour).any(axis=0))
        assert (columns > panel[0]).all() and (columns < panel[1]).any(), name
    # in the column of a disc's middle the five lie from top to bottom in their order
    rows = [np.argwhere(hue_share(picture, SCHEMA[name].colour)[:, : int(panel[1])])[:, 0].mean() for name in NAMES]
    assert rows == sorted(rows)


def test_an_instance_is_boxed_in_its_slices_only(tmp_path):
    case = draw_sagittal(SPACING_MM)
    for name, first in (("inside", 2), ("outside", 9)):
        one = Instance("disc_l5_s1", 0.9, ((first, 20, 20), (first + 1 if first > 8 else 8, 70, 40)))
        write_disc_overview(tmp_path / f"{name}.png", case[0], make_result(case, [one]))
    inside, outside = (imread(tmp_path / f"{name}.png") for name in ("inside", "outside"))
    colour = SCHEMA["disc_l5_s1"].colour
    assert hue_share(inside, colour).sum() > hue_share(outside, colour).sum() + 100


def test_an_axial_overview_has_two_labelled_panels(tmp_path):
    case = draw_axial(slices=4, labelled=(1, 2))
    write_disc_overview(tmp_path / "overview.png", case[0], make_result(case))
    picture = imread(tmp_path / "overview.png")
    columns = hue_share(picture, SCHEMA["intervertebral_disc"].colour).any(axis=0)
    third = int(0.25 * picture.shape[1])
    assert not columns[:third].any() and columns[third : 2 * third].any() and columns[2 * third : 3 * third].any()


def test_the_thumbnail_is_plain_on_the_left_and_labelled_on_the_right(tmp_path):
    case = draw_sagittal(SPACING_MM)
    write_disc_thumbnail(tmp_path / "thumbnail.webp", case[0], make_result(case))
    assert (tmp_path / "thumbnail.webp").stat().st_size <= 6000
    picture = np.asarray(Image.open(tmp_path / "thumbnail.webp").convert("RGB")) / 255
    assert picture.shape[1::-1] == THUMBNAIL_SIZE
    green = hue_share(picture, SCHEMA["disc_l3_l4"].colour)
    assert green[:, 144:].sum() > 10 and green[:, :144].sum() == 0


def cells_of(text):
    return {
        found[0]: re.findall(r'<td class="number">([^<]*)</td>', found[1])
        for found in re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', text)
    }


def test_the_page_gives_each_disc_a_line(tmp_path):
    case = draw_sagittal(SPACING_MM)
    result = make_result(case, [Instance("disc_l4_l5", 0.875, ((0, 0, 0), (10, 90, 90)))], ("eight_bit",))
    write_disc_report(tmp_path / "report.html", case[0], result, None)
    text = (tmp_path / "report.html").read_text()
    cells = cells_of(text)
    expected = ["360", "36.0", "48.0", "17.3", "10.0", "10.0", "10.0", "10.0", "0.56", "0.45"]
    assert cells["L4-L5 disc"] == [*expected, "0.88"]
    assert cells["L1-L2 disc"] == [*expected, "–"]
    assert "mm²" in text and "Farfan" in text and "Dabbs" in text
    assert describe_flag("eight_bit") in text and describe_flag("coarse_across_slices") in text
    assert "<i>mr" not in text


def test_the_page_of_axial_slices_has_a_line_a_slice_and_no_height(tmp_path):
    case = draw_axial(slices=4, labelled=(1, 2))
    write_disc_report(tmp_path / "report.html", case[0], make_result(case), None)
    text = (tmp_path / "report.html").read_text()
    assert list(cells_of(text)) == ["Lumbar disc, slice 1", "Lumbar disc, slice 2"]
    assert "height</th>" not in text and "Axial slices give no disc height" in text


def test_a_page_without_discs(tmp_path):
    volume, label_map = draw_sagittal(SPACING_MM)
    result = make_result((volume, LabelMap(np.zeros_like(label_map.array), label_map.grid, SCHEMA)))
    write_disc_overview(tmp_path / "overview.png", volume, result)
    write_disc_report(tmp_path / "report.html", volume, result, tmp_path / "overview.png")
    assert describe_flag("no_disc_found") in (tmp_path / "report.html").read_text()


FLAGS = "no_disc_found level_unknown csf_not_found not_t2_weighted coarse_across_slices several_cuts several_parts"


@pytest.mark.parametrize("flag", FLAGS.split())
def test_every_flag_of_a_disc_is_explained(flag):
    assert describe_flag(flag) != f"{flag.replace('_', ' ').capitalize()}."
