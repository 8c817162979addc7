"""Muscle and fat at L3: every number counted by hand, and every reason to doubt one said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from myotome.biomarkers.body_composition import find_measured_slices, measure_body_composition
from myotome.errors import InputError
from myotome.geometry import Acquisition, Grid, Volume, reorient
from myotome.measurement import Level
from myotome.structures import LabelMap, read_label_schema
from tests.unit.biomarkers.abdomens import (
    IMAT,
    LAMA,
    NAMA,
    PIXEL_CM2,
    SCHEMA,
    SMA_CM2,
    SMD_HU,
    SUBCUTANEOUS,
    VISCERAL,
    make_abdomen_case,
)


def find(rows, measure, structure="skeletal_muscle", slice_index=None):
    (row,) = [r for r in rows if (r.structure, r.measure, r.slice_index) == (structure, measure, slice_index)]
    return row


def measure(*case, **details):
    return measure_body_composition(*case, **details)


def test_every_area_and_density_is_as_counted_by_hand():
    rows, flags = measure(*make_abdomen_case(), height_m=1.6)
    expected = {
        "muscle_area": SMA_CM2,
        "area_per_height2": SMA_CM2 / 2.56,
        "density": SMD_HU,
        "nama_area": NAMA * PIXEL_CM2,
        "nama_share_of_sma": 100 * 145 / 191,
        "lama_area": LAMA * PIXEL_CM2,
        "lama_share_of_sma": 100 * 46 / 191,
        "imat_area": IMAT * PIXEL_CM2,
        "imat_share": 100 * 34 / 225,
        "l3_slice": 3,
        "slices_measured": 1,
    }
    assert {name: find(rows, name).value for name in expected} == pytest.approx(expected)
    assert find(rows, "fat_area", "subcutaneous_fat").value == pytest.approx(SUBCUTANEOUS * PIXEL_CM2)
    assert find(rows, "fat_area", "visceral_fat").value == pytest.approx(VISCERAL * PIXEL_CM2)
    assert find(rows, "visceral_per_subcutaneous", "visceral_fat").value == pytest.approx(290 / 900)
    assert flags == ()
    assert not any(row.slice_index is not None for row in rows)


def test_units_and_intervals():
    rows, _ = measure(*make_abdomen_case(), height_m=1.6)
    units = {row.measure: row.unit for row in rows}
    assert (units["muscle_area"], units["area_per_height2"], units["density"]) == ("cm2", "cm2/m2", "[hnsf'U]")
    assert all(row.lower is None and row.upper is None for row in rows)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LPI", "SAR", "PIL"])
def test_the_axis_order_does_not_matter(codes):
    volume, label_map = make_abdomen_case(labelled=(1,))
    array, affine = reorient(volume.array, volume.grid.affine, codes)
    labels, _ = reorient(label_map.array, volume.grid.affine, codes)
    grid = Grid(array.shape, affine)
    turned = LabelMap(np.ascontiguousarray(labels), grid, SCHEMA)
    rows, _ = measure(Volume(array, grid), turned)
    assert find(rows, "muscle_area").value == pytest.approx(SMA_CM2)
    assert find(rows, "density").value == pytest.approx(SMD_HU)
    assert find(rows, "l3_slice").value == (5 if "I" in codes else 1)
    assert find_measured_slices(turned) == ((5,) if "I" in codes else (1,))


def test_three_slices_give_rows_of_each_and_their_mean():
    volume, label_map = make_abdomen_case(labelled=(2, 3, 4))
    array = volume.array.copy()
    array[..., 2][array[..., 2] == 50] = 80
    array[..., 4][array[..., 4] == 10] = -50  # 40 pixels of low muscle become fat
    rows, flags = measure(replace(volume, array=array), label_map, height_m=2.0)
    density = [SMD_HU + 145 * 30 / 191, SMD_HU, 145 * 50 / 151]
    assert [find(rows, "density", slice_index=z).value for z in (2, 3, 4)] == pytest.approx(density)
    assert find(rows, "density").value == pytest.approx(np.mean(density))
    assert find(rows, "muscle_area").value == pytest.approx(PIXEL_CM2 * (191 + 191 + 151) / 3)
    assert find(rows, "area_per_height2").value == pytest.approx(PIXEL_CM2 * (191 + 191 + 151) / 12)
    assert find(rows, "imat_share").value == pytest.approx(100 * np.mean([34 / 225, 34 / 225, 74 / 225]))
    assert find(rows, "l3_slice").value == 3 and find(rows, "slices_measured").value == 3
    assert "mean of 3 slices" in find(rows, "muscle_area").method
    assert flags == ()


def test_limits_of_the_ranges_are_on_whole_hu():
    volume, label_map = make_abdomen_case()
    inside = np.argwhere(label_map.array == 1)[:9]
    array = volume.array.astype(np.float32)
    array[label_map.array == 1] = -1000
    array[label_map.array == 4] = -1000
    for place, hu in zip(inside, (-191, -190, -29.51, -29.49, 29, 30, 150, 151, -30), strict=True):
        array[tuple(place)] = hu
    rows, _ = measure(replace(volume, array=array), label_map)
    assert find(rows, "imat_area").value == pytest.approx(3 * PIXEL_CM2)  # -190, -29.51 (rounded to -30), -30
    assert find(rows, "lama_area").value == pytest.approx(2 * PIXEL_CM2)  # -29.49, 29
    assert find(rows, "nama_area").value == pytest.approx(2 * PIXEL_CM2)  # 30, 150


def test_without_a_height_there_is_no_index_and_a_reason():
    rows, flags = measure(*make_abdomen_case())
    assert find(rows, "area_per_height2").value is None
    assert find(rows, "area_per_height2").flags == ("height_unknown",)
    rows, flags = measure(*make_abdomen_case(acquisition=Acquisition(height_m=1.6)))
    assert find(rows, "area_per_height2").value == pytest.approx(SMA_CM2 / 2.56)
    rows, flags = measure(*make_abdomen_case(acquisition=Acquisition(height_m=160)))
    assert find(rows, "area_per_height2").flags == ("height_implausible",) and "height_implausible" in flags


@pytest.mark.parametrize(
    ("height_m", "sentence"),
    [(172, r"give it in metres, 1\.72 if 172 are centimetres"), (0.0172, r"in metres, such as 1\.72"), (7, "such as")],
)
def test_a_height_in_centimetres_is_refused_with_what_it_would_be(height_m, sentence):
    with pytest.raises(InputError, match=sentence):
        measure(*make_abdomen_case(), height_m=height_m)


def test_what_is_not_segmented_is_absent_not_zero():
    volume, label_map = make_abdomen_case()
    only_muscle = LabelMap(np.where(label_map.array == 1, label_map.array, 0), label_map.grid, SCHEMA)
    rows, _ = measure(volume, only_muscle)
    for structure in ("subcutaneous_fat", "visceral_fat"):
        assert find(rows, "fat_area", structure).value is None
        assert find(rows, "fat_area", structure).flags == ("absent",)
    assert find(rows, "visceral_per_subcutaneous", "visceral_fat").value is None
    assert find(rows, "imat_area").value == pytest.approx(10 * PIXEL_CM2)


def test_without_muscle_nothing_is_measured():
    volume, label_map = make_abdomen_case()
    fat = LabelMap(np.where(label_map.array == 2, label_map.array, 0), label_map.grid, SCHEMA)
    rows, flags = measure(volume, fat)
    assert flags == ("no_muscle_found",)
    assert rows and all(row.value is None and row.flags == ("absent",) for row in rows)


def test_a_contour_without_muscle_has_no_density():
    volume, label_map = make_abdomen_case(hu=-80)
    array = np.where((label_map.array == 1) | (label_map.array == 4), -80, volume.array).astype(np.int16)
    rows, _ = measure(replace(volume, array=array), label_map)
    assert find(rows, "muscle_area").value == 0
    assert find(rows, "density").value is None and "no_muscle_range_voxels" in find(rows, "density").flags
    assert find(rows, "imat_share").value == 100


def test_the_level_and_its_confidence_are_rows():
    rows, flags = measure(*make_abdomen_case(), level=Level(3, 115.0, 0.93, "by its place above the sacrum"))
    assert (find(rows, "l3_slice").value, find(rows, "l3_confidence").value) == (3, 0.93)
    assert find(rows, "l3_slice").method == "by its place above the sacrum"
    rows, flags = measure(*make_abdomen_case(), level=Level(3, 115.0))
    assert find(rows, "l3_confidence").value is None and find(rows, "l3_confidence").flags == ("level_given",)
    _, flags = measure(*make_abdomen_case(), level=Level(5, 125.0, 0.79))
    assert set(flags) == {"level_unsure", "level_not_labelled"}


@pytest.mark.parametrize(
    ("acquisition", "flag"),
    [
        (Acquisition(contrast_agent="Ultravist"), "contrast_suspected"),
        (Acquisition(kernel="B70f"), "sharp_kernel"),
        (Acquisition(tube_voltage_kv=80.0), "tube_voltage_not_120"),
        (Acquisition(slice_thickness_mm=8.0), "thick_slices"),
        (Acquisition(flags=("lossy_compression",)), "lossy_compression"),
    ],
)
def test_what_the_header_warns_of_reaches_case_and_rows(acquisition, flag):
    rows, flags = measure(*make_abdomen_case(acquisition=acquisition))
    assert flags == (flag,)
    assert find(rows, "density").flags == (flag,) and find(rows, "muscle_area").flags == (flag,)
    plain = Acquisition(contrast_agent="none", kernel="B30f", tube_voltage_kv=120.0, slice_thickness_mm=5.0)
    assert measure(*make_abdomen_case(acquisition=plain))[1] == ()


def test_metal_counts_where_it_is_near_the_slice():
    volume, label_map = make_abdomen_case(slices=9, labelled=(3,))
    for index, expected in ((4, ("metal",)), (8, ())):
        array = volume.array.copy()
        array[50:54, 44:48, index] = 3000
        assert measure(replace(volume, array=array), label_map)[1] == expected


def test_many_slices_are_averaged_and_said():
    _, flags = measure(*make_abdomen_case(labelled=(1, 2, 3, 4)))
    assert flags == ("many_slices_labelled",)


def shifted(case, columns):
    """The same abdomen, cut off on the patient's right by so many columns."""
    volume, label_map = case
    arrays = [array[: array.shape[0] - columns] for array in (volume.array, label_map.array)]
    grid = Grid(arrays[0].shape, volume.grid.affine)
    return replace(volume, array=arrays[0], grid=grid), LabelMap(arrays[1], grid, SCHEMA)


def test_what_the_field_of_view_cuts_off_is_flagged_for_each_structure():
    rows, flags = measure(*shifted(make_abdomen_case(), 18))  # the image ends in the fat under the skin
    assert flags == ("body_truncated",)
    assert find(rows, "fat_area", "subcutaneous_fat").flags == ("truncated_right",)
    assert find(rows, "muscle_area").flags == ()
    rows, _ = measure(*shifted(make_abdomen_case(), 45))  # the image ends in the muscle
    assert find(rows, "muscle_area").flags == ("truncated_right",)


def test_padding_is_not_counted():
    volume, label_map = make_abdomen_case()
    array = volume.array.copy()
    array[30:32, 36:40, 3] = -2000
    rows, flags = measure(replace(volume, array=array), label_map)
    assert find(rows, "muscle_area").value == pytest.approx((191 - 8) * PIXEL_CM2)
    assert "padding_in_contour" in flags


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v, m: (replace(v, modality="MR"), m), "measured on CT, and this image is MR"),
        (lambda v, m: (v, LabelMap(m.array, m.grid, read_label_schema())), "labels are of 'respiratory_muscle_ct'"),
        (lambda v, m: (v, make_abdomen_case(slices=3, labelled=(1,))[1]), "not on the image's grid"),
    ],
)
def test_what_does_not_belong_together_is_refused(change, sentence):
    with pytest.raises(InputError, match=sentence):
        measure(*change(*make_abdomen_case()))
