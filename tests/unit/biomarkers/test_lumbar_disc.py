"""Discs drawn as boxes and ellipses, measured: every size, height and signal is known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from myotome.biomarkers.lumbar_disc import find_disc_slices, find_plane, measure_discs
from myotome.errors import InputError
from myotome.geometry import Grid
from myotome.measurement import Instance
from myotome.structures import LabelMap, read_label_schema
from tests.unit.biomarkers.discs import AP_MM, BETWEEN_MM, DISC, FLUID, HEIGHT_MM, NAMES, draw_axial, draw_sagittal


def rows_of(case, instances=()):
    measurements, _ = measure_discs(*case, instances)
    rows = {(row.structure, row.measure, row.statistic, row.level, row.slice_index): row for row in measurements}
    assert len(rows) == len(measurements), "one row per measure"
    return rows


def values_of(case, structure, **place):
    level, index = place.get("level"), place.get("slice_index")
    return {
        key[1] if key[2] == "total" else f"{key[1]}_{key[2]}": row.value
        for key, row in rows_of(case).items()
        if key[0] == structure and key[3] == level and key[4] == index
    }


@pytest.mark.parametrize("codes", ["RAS", "AIR", "SLP"])
def test_a_box_has_its_own_sizes_in_any_order_of_axes(codes):
    case = draw_sagittal(codes=codes)
    for place, name in enumerate(NAMES):
        found = values_of(case, name)
        assert found["area"] == pytest.approx(AP_MM * HEIGHT_MM)
        assert found["ap_diameter"] == pytest.approx(AP_MM)
        assert found["transverse_diameter"] == 48
        assert found["volume"] == pytest.approx(48 * AP_MM * HEIGHT_MM / 1000)
        for height in ("anterior_height", "middle_height", "posterior_height", "disc_height"):
            assert found[height] == pytest.approx(HEIGHT_MM)
        assert found["disc_height_index"] == pytest.approx(2 * HEIGHT_MM / AP_MM)
        assert found["signal_per_csf"] == pytest.approx(DISC / FLUID)
        centre = [found[f"centroid_{axis}"] for axis in "xyz"]
        assert centre == pytest.approx([0, 0, (2 - place) * BETWEEN_MM], abs=1e-6)
    assert measure_discs(*case)[1] == ()


def test_the_heights_of_a_wedge():
    """From 7 mm behind to 13 mm in front: 7.9, 10 and 12.1 at 15, 50 and 85 % of the AP diameter."""
    found = values_of(draw_sagittal(spacing_mm=(4.0, 0.25, 0.25), wedge_mm=6), "disc_l3_l4")
    assert found["posterior_height"] == pytest.approx(7.9, abs=0.15)
    assert found["middle_height"] == pytest.approx(10.0, abs=0.15)
    assert found["anterior_height"] == pytest.approx(12.1, abs=0.15)
    assert found["disc_height"] == pytest.approx(10.0, abs=0.15)
    assert found["disc_height_index"] == pytest.approx(20 / 36, abs=0.01)


@pytest.mark.parametrize("degrees", [-30, 17, 35])
def test_a_turned_disc_is_measured_along_its_own_axes(degrees):
    found = values_of(draw_sagittal(turn_degrees=degrees), "disc_l5_s1")
    assert found["ap_diameter"] == pytest.approx(AP_MM, abs=0.5)
    for height in ("anterior_height", "middle_height", "posterior_height"):
        assert found[height] == pytest.approx(HEIGHT_MM, abs=0.25)
    assert found["area"] == pytest.approx(AP_MM * HEIGHT_MM, rel=0.01)


def test_even_spacing_is_sagittal():
    case = draw_sagittal(spacing_mm=(1.0, 1.0, 1.0))
    assert find_plane(case[0].grid) == "sagittal"
    assert values_of(case, "disc_l2_l3")["middle_height"] == pytest.approx(HEIGHT_MM)
    row = rows_of(case)["disc_l2_l3", "transverse_diameter", "total", None, None]
    assert row.value == 48 and row.flags == ()


@pytest.mark.parametrize(("degrees", "plane"), [(30, "axial"), (52, "axial"), (70, None), (90, None)])
def test_axial_slices_may_follow_a_steep_sacrum(degrees, plane):
    volume, label_map = draw_axial()
    turn = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine = volume.grid.affine.copy()
    affine[:3, :3] = about_x @ affine[:3, :3]
    grid = Grid(volume.grid.shape, affine)
    assert find_plane(grid) == plane
    if plane:
        turned = replace(volume, grid=grid), LabelMap(label_map.array, grid, label_map.schema)
        sizes = [
            {
                name: values_of(case, "intervertebral_disc")[name]
                for name in ("area", "ap_diameter", "transverse_diameter")
            }
            for case in (turned, (volume, label_map))
        ]
        assert sizes[0] == pytest.approx(sizes[1])


def test_wide_slices_are_flagged_on_what_goes_across_them():
    rows = rows_of(draw_sagittal())
    for measure in ("transverse_diameter", "volume"):
        assert rows["disc_l1_l2", measure, "total", None, None].flags == ("coarse_across_slices",)
    assert rows["disc_l1_l2", "ap_diameter", "total", None, None].flags == ()


def test_a_disc_in_the_last_slice_is_cut_off():
    volume, label_map = draw_sagittal()
    part = slice(0, 14)  # the box ends at index 15
    grid = Grid((14, *volume.grid.shape[1:]), volume.grid.affine)
    case = replace(volume, array=volume.array[part], grid=grid), LabelMap(label_map.array[part], grid, label_map.schema)
    assert "cut_last_slice" in rows_of(case)["disc_l1_l2", "volume", "total", None, None].flags


@pytest.mark.parametrize("weighting", ["T1", "PD"])
def test_without_t2_weighting_there_is_no_signal_per_fluid(weighting):
    row = rows_of(draw_sagittal(weighting=weighting))["disc_l4_l5", "signal_per_csf", "total", None, None]
    assert (row.value, row.flags) == (None, ("not_t2_weighted",))


@pytest.mark.parametrize("fluid", [20, 60])
def test_a_dark_column_is_no_fluid(fluid):
    """As on a T1-weighted image whose header does not say so."""
    row = rows_of(draw_sagittal(fluid=fluid, weighting=None))["disc_l4_l5", "signal_per_csf", "total", None, None]
    assert (row.value, row.flags) == (None, ("csf_not_found",))


def test_a_bright_spot_is_no_column():
    volume, label_map = draw_sagittal(fluid=40)
    array = volume.array.copy()
    array[8:12, 30:50, 150:160] = FLUID  # behind one disc, 5 mm high
    row = rows_of((replace(volume, array=array), label_map))["disc_l3_l4", "signal_per_csf", "total", None, None]
    assert row.flags == ("csf_not_found",)


def test_nerve_roots_in_the_fluid_do_not_dim_it():
    volume, label_map = draw_sagittal()
    array = volume.array.copy()
    array[array == FLUID] = np.where(np.arange(np.count_nonzero(array == FLUID)) % 2, FLUID, 140)
    found = values_of((replace(volume, array=array), label_map), "disc_l3_l4")
    assert found["signal_per_csf"] == pytest.approx(DISC / FLUID)


def test_a_disc_that_is_not_labelled_has_rows_without_a_value():
    volume, label_map = draw_sagittal()
    fewer = LabelMap(
        np.where(label_map.array == 1, 0, label_map.array).astype(np.uint8), label_map.grid, label_map.schema
    )
    rows = [row for row in measure_discs(volume, fewer)[0] if row.structure == "disc_l1_l2"]
    assert {row.measure for row in rows} >= {"area", "middle_height", "signal_per_csf"}
    assert all(row.value is None and row.flags == ("absent",) for row in rows)


def test_discs_of_unknown_level_are_told_apart_from_below():
    volume, label_map = draw_sagittal()
    unnamed = LabelMap(np.where(label_map.array > 2, 6, 0).astype(np.uint8), label_map.grid, label_map.schema)
    measurements, flags = measure_discs(volume, unnamed)
    assert flags == ("level_unknown",)
    heights = {row.level: row.value for row in measurements if (row.measure, row.statistic) == ("centroid", "z")}
    expected = {f"disc {place + 1} from below": (place - 2) * BETWEEN_MM for place in range(3)}
    assert {level: value for level, value in heights.items() if level} == pytest.approx(expected)


def test_an_ellipse_has_its_own_area_and_diameters():
    rows = rows_of(draw_axial())
    for index in (None, 0):
        place = ("total", None, index)
        assert rows["intervertebral_disc", "area", *place].value == pytest.approx(np.pi * 24 * 17, rel=0.005)
        assert rows["intervertebral_disc", "ap_diameter", *place].value == pytest.approx(34, abs=0.5)
        assert rows["intervertebral_disc", "transverse_diameter", *place].value == pytest.approx(48, abs=0.5)


@pytest.mark.parametrize("degrees", [-25, 10])
def test_a_turned_ellipse_is_measured_along_its_own_axes(degrees):
    found = values_of(draw_axial(turn_degrees=degrees), "intervertebral_disc")
    assert found["ap_diameter"] == pytest.approx(34, abs=0.7)
    assert found["transverse_diameter"] == pytest.approx(48, abs=0.7)


def test_a_disc_as_deep_as_wide_is_measured_along_the_patients_axes():
    """Its principal axes are anything: a little noise in its outline must not turn them."""
    case = draw_axial(half_mm=(20.0, 20.5))
    assert values_of(case, "intervertebral_disc")["ap_diameter"] == pytest.approx(41, abs=0.5)


def test_no_height_is_ever_given_from_axial_slices():
    for case in (draw_axial(), draw_axial(slices=3, labelled=(0, 1, 2))):
        measures = {row.measure for row in measure_discs(*case)[0]}
        assert not {name for name in measures if "height" in name or name in ("volume", "signal_per_csf")}


def test_several_axial_cuts_have_rows_of_their_own_and_none_in_common():
    case = draw_axial(slices=4, labelled=(1, 2))
    rows = rows_of(case)
    assert find_disc_slices(case[1]) == [1, 2]
    common = rows["intervertebral_disc", "area", "total", None, None]
    assert (common.value, common.flags) == (None, ("several_cuts",))
    assert {key[4] for key, row in rows.items() if row.value is not None} == {1, 2}


def test_a_cut_at_the_border_and_a_second_part_are_flagged():
    volume, label_map = draw_axial()
    labels = label_map.array.copy()
    labels[:30, 60:90, 0] = 6
    row = rows_of((volume, LabelMap(labels, label_map.grid, label_map.schema)))[
        "intervertebral_disc", "area", "total", None, 0
    ]
    assert row.flags == ("several_parts",)
    labels = np.roll(label_map.array, -40, axis=0)
    row = rows_of((volume, LabelMap(labels, label_map.grid, label_map.schema)))[
        "intervertebral_disc", "area", "total", None, 0
    ]
    assert "truncated" in row.flags


def test_the_score_of_a_detector_stands_beside_its_disc():
    box = ((0, 0, 0), (20, 180, 140))  # holds the two lower discs
    found = rows_of(draw_sagittal(), [Instance("disc_l5_s1", 0.75, box), Instance("disc_l4_l5", 0.5, box)])
    scores = {key[0]: row.value for key, row in found.items() if key[1] == "detection_score"}
    assert scores == {"disc_l5_s1": 0.75, "disc_l4_l5": 0.5}


def test_without_a_disc_nothing_is_measured():
    for volume, label_map in (draw_sagittal(), draw_axial()):
        empty = LabelMap(np.zeros_like(label_map.array), label_map.grid, label_map.schema)
        rows, flags = measure_discs(volume, empty)
        assert "no_disc_found" in flags
        assert rows and all(row.value is None and row.flags == ("absent",) for row in rows)


def turned_coronal(volume, label_map):
    rows = np.eye(4)[[1, 0, 2, 3]]
    grid = Grid(volume.grid.shape, rows @ volume.grid.affine)
    return replace(volume, grid=grid), LabelMap(label_map.array, grid, label_map.schema)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda volume, labels: (replace(volume, modality="CT"), labels), "this image is CT"),
        (turned_coronal, "these are coronal"),
        (
            lambda volume, labels: (volume, LabelMap(labels.array, labels.grid, read_label_schema("l3_muscle_ct"))),
            "discs need those of",
        ),
        (lambda volume, labels: (volume, draw_axial()[1]), "is not on the image's grid"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, sentence):
    volume, label_map = draw_sagittal()
    if "discs need" in sentence:
        label_map = LabelMap(np.minimum(label_map.array, 4), label_map.grid, label_map.schema)
    with pytest.raises(InputError, match=sentence):
        measure_discs(*change(volume, label_map))
