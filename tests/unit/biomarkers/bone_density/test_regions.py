"""Which part of a body is measured, how tall it is, and whether its name can be right."""

from dataclasses import replace

import numpy as np
import pytest

from myotome.biomarkers.bone_density import find_trabecular_regions, read_bone_density_settings, survey_bone
from myotome.biomarkers.bone_density.heights import Heights, compute_height_loss, measure_heights
from myotome.biomarkers.bone_density.regions import erode_body, name_level, out_of_order
from myotome.geometry import Grid, Volume, reorient
from myotome.structures import LabelMap
from tests.unit.biomarkers.spines import Spine, make_spine

SETTINGS = read_bone_density_settings()
LEVELS = tuple(SETTINGS.region.heights_mm)


def box_body(height_mm=24.0, depth_mm=30.0, tilt_degrees=0.0, front_lost=0.0, spacing=(1.0, 1.0, 1.0)):
    """A box 40 mm wide, tilted in the sagittal plane; its upper end plate sinks towards the front."""
    sizes = [round(reach / step) for reach, step in zip((50, 60, 60), spacing, strict=True)]
    x, y, z = np.meshgrid(
        *((np.arange(size) - (size - 1) / 2) * step for size, step in zip(sizes, spacing, strict=True)), indexing="ij"
    )
    angle = np.radians(tilt_degrees)
    forward, upward = y * np.cos(angle) + z * np.sin(angle), -y * np.sin(angle) + z * np.cos(angle)
    sunk = front_lost * height_mm * np.clip(0.5 + forward / depth_mm, 0, 1)
    inside = (np.abs(x) <= 20) & (np.abs(forward) <= depth_mm / 2)
    return inside & (upward >= -height_mm / 2) & (upward <= height_mm / 2 - sunk)


@pytest.mark.parametrize("tilt", [-20, 0, 10, 25])
def test_heights_do_not_depend_on_the_tilt(tilt):
    heights = measure_heights(box_body(tilt_degrees=tilt), (1.0, 1.0, 1.0))
    for height in (heights.anterior_mm, heights.middle_mm, heights.posterior_mm):
        assert height == pytest.approx(24, abs=1.2)


@pytest.mark.parametrize("tilt", [0, 15])
def test_a_wedge_is_lower_in_front(tilt):
    """A plate that sinks by 40 % to the front has lost 32 % at 80 % of the depth, where the front is measured."""
    heights = measure_heights(box_body(tilt_degrees=tilt, front_lost=0.4), (1.0, 1.0, 1.0))
    assert heights.posterior_mm > heights.middle_mm > heights.anterior_mm
    assert heights.anterior_mm == pytest.approx(24 * (1 - 0.4 * 0.8), abs=1.5)


def test_an_empty_mask_has_no_height():
    assert measure_heights(np.zeros((4, 4, 4), bool), (1, 1, 1)) is None


def test_loss_is_of_the_bodys_own_tallest_part():
    heights = {"L1": Heights(16, 20, 25)}
    assert compute_height_loss("L1", heights, SETTINGS.region.heights_mm) == pytest.approx(36)


def test_a_body_crushed_all_over_is_seen_beside_its_neighbours():
    heights = {level: Heights(*(3 * [SETTINGS.region.heights_mm[level]])) for level in ("T11", "T12", "L1", "L2")}
    heights["L1"] = Heights(*(3 * [0.7 * 23.8]))
    assert compute_height_loss("L1", heights, SETTINGS.region.heights_mm) == pytest.approx(30, abs=0.1)
    assert compute_height_loss("T12", heights, SETTINGS.region.heights_mm) == pytest.approx(0, abs=0.1)


def test_the_region_keeps_away_from_cortex_endplates_back_and_vein():
    spacing, body = (1.0, 1.0, 2.0), np.zeros((50, 40, 16), bool)
    body[5:45, 4:34, 2:14] = True
    region = erode_body(body, spacing)
    places = np.argwhere(region)
    assert places[:, 0].min() == 9
    assert places[:, 0].max() == 40
    assert places[:, 1].max() == 29
    assert places[:, 1].min() >= 4 + round(30 * 0.33)
    assert (places[:, 2].min(), places[:, 2].max()) == (2 + 2, 13 - 2)
    middle = region[:, :, 8]
    assert not middle[25, :19].any()
    assert middle[12, 15]
    assert region.sum() > 1000


def test_a_thick_slice_at_each_end_is_taken_off():
    body = np.zeros((50, 40, 7), bool)
    body[5:45, 4:34, 1:6] = True
    assert np.flatnonzero(erode_body(body, (1.0, 1.0, 8.0)).any(axis=(0, 1))).tolist() == [2, 3, 4]


def test_hu_are_those_that_were_drawn():
    volume, labels = make_spine(Spine(noise_hu=25))
    regions = find_trabecular_regions(volume, labels)
    assert list(regions) == ["T12", "L1", "L2"]
    for level, bmd in Spine().bmd.items():
        region = regions[level]
        assert region.hu == pytest.approx(bmd * 1.3827, abs=3 * region.hu_se + 0.5)
        assert 0.5 < region.hu_se < 3
        assert region.flags == ()
        assert region.volume_ml > 3


@pytest.mark.parametrize("codes", ["LPS", "RAI", "SPR"])
def test_the_axis_order_changes_nothing(codes):
    volume, labels = make_spine()
    array, affine = reorient(volume.array, volume.grid.affine, codes)
    turned, _ = reorient(labels.array, volume.grid.affine, codes)
    grid = Grid(array.shape, affine)
    other = find_trabecular_regions(
        replace(volume, array=array, grid=grid), LabelMap(np.ascontiguousarray(turned), grid, labels.schema)
    )
    for level, region in find_trabecular_regions(volume, labels).items():
        assert other[level].hu == pytest.approx(region.hu)
        assert other[level].slices == region.slices


def test_a_body_cut_by_the_field_is_not_measured_and_the_end_is_named():
    volume, labels = make_spine(Spine(cut=True))
    region = find_trabecular_regions(volume, labels)["L2"]
    assert (region.hu, region.height_loss_percent, region.flags) == (None, None, ("cut_first_slice",))
    flipped = [np.flip(array, 2) for array in (volume.array, labels.array)]
    affine = np.array(volume.grid.affine)
    affine[2, 3] += affine[2, 2] * (volume.grid.shape[2] - 1)
    affine[2, 2] *= -1
    grid = Grid(volume.grid.shape, affine)
    turned = find_trabecular_regions(Volume(flipped[0], grid), LabelMap(flipped[1].copy(), grid, labels.schema))
    assert turned["L2"].flags == ("cut_last_slice",)


def test_a_fractured_body_is_flagged_with_its_loss():
    volume, labels = make_spine(Spine(crushed={"L1": 0.45}))
    regions = find_trabecular_regions(volume, labels)
    assert "fractured" in regions["L1"].flags
    assert regions["L1"].height_loss_percent == pytest.approx(45, abs=5)
    assert all("fractured" not in regions[level].flags for level in ("T12", "L2"))


def test_cement_is_not_taken_for_bone():
    volume, labels = make_spine(Spine(bmd={"L1": 700.0, "L2": 110.0}))
    regions = find_trabecular_regions(volume, labels)
    assert (regions["L1"].hu, regions["L1"].flags) == (None, ("bone_implausible",))
    assert regions["L2"].hu is not None


def test_stray_voxels_of_a_label_are_left_out():
    volume, labels = make_spine()
    array = labels.array.copy()
    array[5:8, 5:8, 1] = labels.schema["vertebral_body_l1"].index
    stray = find_trabecular_regions(volume, replace(labels, array=array))["L1"]
    assert stray.hu == find_trabecular_regions(volume, labels)["L1"].hu


def test_names_follow_the_structures():
    assert name_level("vertebral_body_t12") == "T12"
    assert name_level("aorta") is None


@pytest.mark.parametrize(
    ("heights_mm", "unsure"),
    [
        ({"T12": 60, "L1": 30, "L2": 0}, False),
        ({"T12": 30, "L1": 60, "L2": 0}, True),
        ({"T11": 90, "T12": 60, "L2": 0}, False),  # L1 is not labelled, and there is room for it
        ({"T10": 90, "T11": 60, "L1": 30, "L2": 0}, True),  # T12 is left out, and there is none
        ({"L1": 30}, False),
        ({}, False),
        ({"L1": 90, "L2": 0}, True),
    ],
)
def test_names_that_the_places_contradict_are_unsure(heights_mm, unsure):
    centres = {level: (0.0, 0.0, float(z)) for level, z in heights_mm.items()}
    assert out_of_order(centres, LEVELS) is unsure


@pytest.mark.parametrize(("step_mm", "fractured"), [(3.0, True), (6.0, False)])
def test_thick_slices_have_to_show_more_than_their_own_step(step_mm, fractured):
    """The same loss in a body of 7 slices: more than 20 % and 1.5 mm of 21 mm, less than 20 % and 4.5 mm of 42 mm."""
    volume, labels = make_spine(Spine(crushed={"L1": 0.29}))
    affine = np.array(volume.grid.affine)
    affine[2, 2] = step_mm
    grid = Grid(volume.grid.shape, affine)
    region = find_trabecular_regions(replace(volume, grid=grid), LabelMap(labels.array, grid, labels.schema))["L1"]
    assert 27.2 < region.height_loss_percent < 31.8
    assert ("fractured" in region.flags) is fractured


def test_a_cut_bodys_middle_does_not_make_the_names_unsure():
    survey = survey_bone(*make_spine(Spine(bmd={"T12": 100.0, "L1": 100.0, "L2": 100.0, "L3": 100.0}, cut=True)))
    assert survey.levels["L3"].flags == ("cut_first_slice",)
    assert "levels_unsure" not in survey.flags
