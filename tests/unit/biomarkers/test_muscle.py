"""Measurements against per-label masks, written the slow way."""

import numpy as np
import pytest

from myotome.biomarkers import find_midsagittal_plane, measure_muscles
from myotome.errors import InputError
from myotome.geometry import Acquisition, Grid, Volume
from myotome.structures import LabelMap, read_label_schema
from tests.unit.biomarkers.bodies import Body, make_body

STRUCTURES = {"pectoralis": 1, "erector_spinae": 2, "intercostal": 3, "other_muscle": 4}


def lookup(rows):
    return {(r.structure, r.side, r.measure, r.statistic): r for r in rows if r.slice_index is None and r.level is None}


def make_noisy(codes="RAS", dtype=np.int16):
    """The test body with noise, so that every density range is met, on its grid."""
    volume, label_map, _ = make_body(Body(x_mm=7, rotation_deg=9), codes)
    noise = np.random.default_rng(3).normal(0, 60, volume.array.shape)
    return Volume((volume.array + noise).round().astype(dtype), volume.grid), label_map


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "IPL"])
def test_one_pass_equals_masks(codes):
    volume, label_map = make_noisy(codes)
    rows = lookup(measure_muscles(volume, label_map, height_m=1.6)[0])
    plane = find_midsagittal_plane(volume, label_map)
    index = np.stack(np.meshgrid(*map(np.arange, volume.grid.shape), indexing="ij"), axis=-1)
    right = plane.distance_mm(index @ volume.grid.affine[:3, :3].T + volume.grid.affine[:3, 3]) >= 0
    voxel_ml = volume.grid.voxel_volume_mm3 / 1000
    for name in ("pectoralis", "erector_spinae", "intercostal"):
        contour = label_map.array == STRUCTURES[name]
        for side, half in (("right", right), ("left", ~right), ("both", np.ones_like(right))):
            hu = volume.array[contour & half].astype(float)
            muscle = hu[(hu >= -29) & (hu <= 150)]
            tissue = ((hu >= -190) & (hu <= 150)).sum()
            expected = {
                ("volume", "total"): hu.size * voxel_ml,
                ("muscle_volume", "total"): muscle.size * voxel_ml,
                ("density", "mean"): muscle.mean(),
                ("density", "median"): np.median(muscle),
                ("density", "sd"): muscle.std(),
                ("contour_density", "mean"): hu.mean(),
                ("contour_density", "median"): np.median(hu),
                ("contour_density", "sd"): hu.std(),
                ("nama_share", "total"): 100 * ((hu >= 30) & (hu <= 150)).sum() / tissue,
                ("lama_share", "total"): 100 * ((hu >= -29) & (hu <= 29)).sum() / tissue,
                ("imat_share", "total"): 100 * ((hu >= -190) & (hu <= -30)).sum() / tissue,
                ("volume_per_length", "total"): hu.size * voxel_ml / (24 * 0.8),
                ("volume_per_height2", "total"): hu.size * voxel_ml / 1.6**2,
                ("volume_per_height3", "total"): hu.size * voxel_ml / 1.6**3,
            }
            for (measure, statistic), value in expected.items():
                assert rows[name, side, measure, statistic].value == pytest.approx(value, rel=1e-12), (
                    name,
                    side,
                    measure,
                )


def test_orientation_does_not_change_what_is_measured():
    straight = measure_muscles(*make_body(Body(rotation_deg=5))[:2])[0]
    turned = measure_muscles(*make_body(Body(rotation_deg=5), "ASL")[:2])[0]
    turned = lookup(turned)
    for key, row in lookup(straight).items():
        if key[2] == "volume":
            assert turned[key].value == (row.value if row.value is None else pytest.approx(row.value, rel=0.01))


def test_floating_point_hu_are_rounded_to_whole_numbers():
    whole, label_map = make_noisy()
    shifted = Volume(whole.array.astype(np.float32) + np.float32(0.3), whole.grid)
    expected, found = (lookup(measure_muscles(volume, label_map)[0]) for volume in (whole, shifted))
    for key, row in expected.items():
        assert found[key].value == row.value


def test_slices_add_up_and_carry_the_volumes_own_index():
    volume, label_map = make_noisy("RAI")
    rows = measure_muscles(volume, label_map)[0]
    areas = [r for r in rows if r.measure == "area" and r.structure == "erector_spinae" and r.side == "both"]
    voxels = (label_map.array == 2).sum(axis=(0, 1))
    assert [r.slice_index for r in areas] == list(np.flatnonzero(voxels))
    assert [r.value for r in areas] == pytest.approx(voxels[voxels > 0] * 3.0 * 3.0 / 100)
    total = lookup(rows)["erector_spinae", "both", "volume", "total"].value
    assert sum(r.value for r in areas) * 0.8 == pytest.approx(total)


def test_named_levels():
    volume, label_map = make_noisy()
    rows = measure_muscles(volume, label_map, height_m=2.0, levels={"T4": 15})[0]
    at = {(r.structure, r.side, r.measure): r for r in rows if r.level == "T4"}
    hu = volume.array[..., 15][label_map.array[..., 15] == 1].astype(float)
    muscle = hu[(hu >= -29) & (hu <= 150)]
    assert at["pectoralis", "both", "area"].value == pytest.approx(hu.size * 0.09)
    assert at["pectoralis", "both", "muscle_area"].value == pytest.approx(muscle.size * 0.09)
    assert at["pectoralis", "both", "density"].value == pytest.approx(muscle.mean())
    assert at["pectoralis", "both", "area_per_height2"].value == pytest.approx(muscle.size * 0.09 / 4)
    assert at["pectoralis", "both", "area"].slice_index == 15
    assert at["other_muscle", "both", "area"].value is None
    assert at["other_muscle", "both", "area"].flags == ("absent",)


def test_what_is_absent_is_none_and_says_so():
    volume, label_map, _ = make_body(Body(lost_pectoralis="left"))
    rows = lookup(measure_muscles(volume, label_map, height_m=1.7)[0])
    left = [row for (structure, side, *_), row in rows.items() if (structure, side) == ("pectoralis", "left")]
    assert left and all(row.value is None and row.flags == ("absent",) for row in left)
    assert rows["pectoralis", "right", "volume", "total"].value > 0
    assert rows["pectoralis", "both", "volume", "total"].value == rows["pectoralis", "right", "volume", "total"].value


def test_nothing_is_invented_where_there_is_no_muscle():
    volume, label_map, _ = make_body()
    empty = LabelMap(np.zeros_like(label_map.array), label_map.grid, label_map.schema)
    rows, flags = measure_muscles(volume, empty)
    assert "no_muscle_found" in flags
    assert rows and all(row.value is None and "absent" in row.flags for row in rows)


def test_a_contour_without_muscle_has_a_volume_but_no_density():
    volume, label_map, _ = make_body()
    fat = Volume(np.full_like(volume.array, -100), volume.grid)
    rows = lookup(measure_muscles(fat, label_map)[0])
    assert rows["pectoralis", "both", "muscle_volume", "total"].value == 0
    assert rows["pectoralis", "both", "density", "mean"].value is None
    assert "no_muscle_range_voxels" in rows["pectoralis", "both", "density", "mean"].flags
    assert rows["pectoralis", "both", "imat_share", "total"].value == 100


def test_padding_inside_a_contour_is_not_measured():
    volume, label_map, _ = make_body()
    array = volume.array.copy()
    contour = np.argwhere(label_map.array == 2)
    array[tuple(contour[:100].T)] = -3024
    rows = lookup(measure_muscles(Volume(array, volume.grid), label_map)[0])
    row = rows["erector_spinae", "both", "volume", "total"]
    assert row.value == pytest.approx((len(contour) - 100) * 0.072)
    assert "padding_in_contour" in row.flags
    assert rows["erector_spinae", "both", "contour_density", "mean"].value == 50


def test_height_from_the_header_is_used_and_checked():
    volume, label_map, _ = make_body()
    for header_m, given_m, expected_m in ((1.8, None, 1.8), (1.8, 1.5, 1.5), (180.0, None, None)):
        case = Volume(volume.array, volume.grid, acquisition=Acquisition(height_m=header_m))
        rows, flags = measure_muscles(case, label_map, height_m=given_m)
        index = lookup(rows).get(("pectoralis", "both", "volume_per_height2", "total"))
        if expected_m is None:
            assert index is None and "height_implausible" in flags
        else:
            total = lookup(rows)["pectoralis", "both", "volume", "total"].value
            assert index.value == pytest.approx(total / expected_m**2)
            assert index.unit == "cm3/m2"


def test_refusals():
    volume, label_map, _ = make_body()
    with pytest.raises(InputError, match="this image is MR"):
        measure_muscles(Volume(volume.array, volume.grid, "MR"), label_map)
    with pytest.raises(InputError, match="height of 172"):
        measure_muscles(volume, label_map, height_m=172)
    with pytest.raises(InputError, match="level T4 is slice 24"):
        measure_muscles(volume, label_map, levels={"T4": 24})
    other = Grid((5, 5, 5), np.eye(4))
    with pytest.raises(InputError, match="not on the image's grid"):
        measure_muscles(volume, LabelMap(np.zeros((5, 5, 5), np.uint8), other, read_label_schema()))
