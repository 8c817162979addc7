"""The whole measurement: known densities come back as rows, or there is none and the row says why."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from myotome.biomarkers.bone_density import (
    Coefficients,
    MethodCoefficients,
    choose_levels,
    compute_mean_ratio,
    measure_bone_density,
    measure_survey,
    survey_bone,
    to_hydroxyapatite,
)
from myotome.biomarkers.bone_density.settings import ThoracicOffset
from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.structures import LabelMap, read_label_schema
from tests.unit.biomarkers.spines import SETTINGS, Spine, make_spine


def measure(spine=None, settings=SETTINGS, **acquisition):
    rows, flags = measure_bone_density(*make_spine(spine, **acquisition), settings)
    return {(row.level or row.structure, row.measure): row for row in rows}, flags


@pytest.mark.parametrize("method", ["two_tissue", "multi_tissue"])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1.02, 15.0), (0.98, -15.0)])
def test_known_densities_come_back_from_a_noisy_scan_of_any_scale(method, scale, offset):
    spine = Spine(noise_hu=25, scale=scale, offset_hu=offset)
    rows, flags = measure(spine, replace(SETTINGS, method=method))
    for level, bmd in spine.bmd.items():
        row = rows[level, "bmd"]
        assert row.value == pytest.approx(bmd, abs=4)
        assert row.lower < bmd < row.upper
        assert row.unit == "mg/cm3"
        assert rows[level, "bmd_ha"].value == pytest.approx(to_hydroxyapatite(row.value))
        assert rows[level, "density"].value == pytest.approx(offset + scale * bmd * 1.3827, abs=4)
    mean = rows["vertebral_column", "bmd"]
    assert mean.value == pytest.approx((rows["L1", "bmd"].value + rows["L2", "bmd"].value) / 2)
    assert "levels_used:L1, L2" in flags
    assert "L1 and L2" in mean.method
    assert "K2HPO4" in mean.method


def test_the_means_interval_holds_the_shared_error_whole():
    """Noise-free: each body's error is the calibration's alone, and the mean's is no smaller."""
    rows, _ = measure(Spine(bmd={"T12": 100.0, "L1": 100.0, "L2": 100.0}))
    widths = [row.upper - row.lower for row in (rows["L1", "bmd"], rows["L2", "bmd"], rows["vertebral_column", "bmd"])]
    assert widths[2] == pytest.approx(np.mean(widths[:2]), rel=1e-6)


def test_both_methods_stand_side_by_side():
    rows, _ = measure()
    assert rows["vertebral_column", "bmd_multi_tissue"].value == pytest.approx(120, abs=1.5)
    assert rows["vertebral_column", "effective_energy"].value == pytest.approx(68, abs=0.7)
    other, _ = measure(settings=replace(SETTINGS, method="multi_tissue"))
    assert other["vertebral_column", "bmd"].value == rows["vertebral_column", "bmd_multi_tissue"].value
    assert other["vertebral_column", "bmd_two_tissue"].value == rows["vertebral_column", "bmd"].value


@pytest.mark.parametrize(("bmd", "number"), [(150.0, 0), (100.0, 1), (60.0, 2)])
def test_the_class_is_by_the_fixed_cutoffs(bmd, number):
    rows, _ = measure(Spine(bmd={"L1": bmd, "L2": bmd}))
    assert rows["vertebral_column", "bmd_class"].value == number
    assert rows["vertebral_column", "below_youden"].value is None
    assert "no_youden_cutoff" in rows["vertebral_column", "below_youden"].flags


def test_the_cutoff_of_the_training_stands_beside_the_fixed_ones():
    fitted = SETTINGS.with_coefficients("two_tissue", Coefficients("a study", 95.0, MethodCoefficients(2.0, 0.97)))
    rows, flags = measure(Spine(bmd={"L1": 88.0, "L2": 88.0}), fitted)
    assert rows["vertebral_column", "bmd"].value == pytest.approx((88 - 2) / 0.97, abs=1)
    assert rows["vertebral_column", "bmd"].method.endswith("bias corrected by a study")
    assert "bias corrected" not in measure()[0]["vertebral_column", "bmd"].method
    assert rows["vertebral_column", "bmd_class"].value == 1
    assert rows["vertebral_column", "below_youden"].value == 1
    assert "bias_not_corrected" not in flags
    assert "bias_not_corrected" in measure()[1]


def test_an_interval_that_holds_a_cutoff_says_so():
    assert "near_cutoff" in measure(Spine(bmd={"L1": 83.0, "L2": 83.0}))[0]["vertebral_column", "bmd_class"].flags
    assert "near_cutoff" not in measure(Spine(bmd={"L1": 30.0, "L2": 30.0}))[0]["vertebral_column", "bmd_class"].flags


def test_thoracic_levels_have_a_mean_and_no_class():
    rows, flags = measure(Spine(bmd={"T10": 100.0, "T11": 95.0, "T12": 90.0}))
    assert rows["vertebral_column", "bmd"].value == pytest.approx(92.5, abs=1)
    assert "levels_used:T12, T11" in flags
    assert "thoracic_levels" in flags
    for measure_name in ("bmd_class", "below_youden"):
        row = rows["vertebral_column", measure_name]
        assert row.value is None
        assert "class_withheld_thoracic" in row.flags


def test_a_thoracic_class_needs_an_offset_with_its_source():
    offsets = {level: ThoracicOffset(-20.0, "a site's own comparison") for level in ("T11", "T12")}
    settings = replace(SETTINGS, cutoffs=replace(SETTINGS.cutoffs, thoracic_offsets=offsets))
    spine = Spine(bmd={"T11": 95.0, "T12": 90.0})
    row = measure(spine, settings)[0]["vertebral_column", "bmd_class"]
    assert row.value == 2
    assert "class_by_thoracic_offset" in row.flags
    assert "a site's own comparison" in row.method
    one = replace(SETTINGS, cutoffs=replace(SETTINGS.cutoffs, thoracic_offsets={"T12": offsets["T12"]}))
    assert measure(spine, one)[0]["vertebral_column", "bmd_class"].value is None


def test_a_fractured_level_is_excluded_and_said():
    rows, flags = measure(Spine(crushed={"L1": 0.45}))
    assert rows["L1", "bmd"].value is None
    assert "fractured" in rows["L1", "bmd"].flags
    assert rows["L1", "density"].value is not None
    assert rows["vertebral_column", "bmd"].value == rows["L2", "bmd"].value
    assert {"levels_fractured:L1", "levels_used:L2", "one_level_only"} <= set(flags)


def test_metal_takes_the_levels_of_its_slices():
    rows, flags = measure(Spine(metal=True))
    assert rows["L1", "bmd"].value is None
    assert rows["L1", "bmd"].flags == ("metal_near",)
    assert rows["L2", "bmd"].value == pytest.approx(110, abs=1)
    assert {"metal_near", "levels_used:L2"} <= set(flags)


@pytest.mark.parametrize(
    ("spine", "acquisition", "reason"),
    [
        (Spine(tissue_hu={"blood": 170.0}), {}, "contrast_suspected"),
        (Spine(), {"contrast_agent": "Iomeprol 350"}, "contrast_suspected"),
        (Spine(left_out=("subcutaneous_fat",)), {}, "fat_missing"),
        (Spine(scale=1.3), {}, "air_implausible"),
        (Spine(offset_hu=300.0), {}, "muscle_implausible"),
        (Spine(tissue_hu={"muscle": -60.0}), {}, "muscle_implausible"),
    ],
)
def test_a_broken_calibration_gives_no_density_anywhere_and_says_why(spine, acquisition, reason):
    rows, flags = measure(spine, **acquisition)
    densities = [row for row in rows.values() if row.unit == "mg/cm3" or row.measure in ("bmd_class", "below_youden")]
    assert len(densities) == 3 * 2 + 3 + 2
    assert all(row.value is None for row in densities)
    assert reason in rows["vertebral_column", "bmd"].flags
    assert reason in rows["L1", "bmd"].flags
    assert "calibration_refused" in flags


def test_without_muscle_the_two_tissue_method_has_no_number():
    rows, flags = measure(Spine(left_out=("erector_spinae",)))
    assert rows["vertebral_column", "bmd"].value is None
    assert rows["vertebral_column", "bmd"].flags == ("muscle_missing",)
    assert rows["vertebral_column", "bmd_multi_tissue"].value == pytest.approx(120, abs=1.5)
    assert "calibration_refused" in flags


def test_without_blood_contrast_agent_is_not_checked_and_said():
    rows, flags = measure(Spine(left_out=("aorta",)))
    assert rows["vertebral_column", "bmd"].value == pytest.approx(120, abs=1)
    assert rows["vertebral_column", "bmd_multi_tissue"].value is None
    assert "blood_missing" in rows["vertebral_column", "bmd_multi_tissue"].flags
    assert "contrast_not_checked" in flags


def test_contrast_agent_can_be_flagged_instead():
    rows, flags = measure(Spine(tissue_hu={"blood": 170.0}), replace(SETTINGS, contrast="flag"))
    assert rows["vertebral_column", "bmd"].value == pytest.approx(120, abs=1)
    assert "contrast_suspected" in rows["vertebral_column", "bmd"].flags
    assert "contrast_suspected" in flags


def test_swapped_names_give_no_mean():
    volume, labels = make_spine()
    swapped = labels.array.copy()
    first, second = (labels.schema[f"vertebral_body_{level}"].index for level in ("l1", "l2"))
    swapped[labels.array == first], swapped[labels.array == second] = second, first
    rows, flags = measure_bone_density(volume, replace(labels, array=swapped))
    mean = next(row for row in rows if (row.structure, row.measure) == ("vertebral_column", "bmd"))
    assert mean.value is None
    assert "levels_unsure" in mean.flags
    assert "levels_unsure" in flags


def test_no_body_and_no_whole_body_are_told_apart():
    volume, labels = make_spine()
    rows, flags = measure_bone_density(volume, replace(labels, array=np.zeros_like(labels.array)))
    assert "no_vertebra_found" in flags
    mean = next(row for row in rows if (row.structure, row.measure) == ("vertebral_column", "bmd"))
    assert mean.flags == ("no_vertebra_found",)
    cut, cut_labels = make_spine(Spine(bmd={"L1": 120.0}, cut=True))
    rows, flags = measure_bone_density(cut, cut_labels)
    assert "no_whole_vertebra" in flags
    mean = next(row for row in rows if (row.structure, row.measure) == ("vertebral_column", "bmd"))
    assert mean.value is None
    assert {"no_whole_vertebra", "cut_first_slice"} <= set(mean.flags)


def test_the_acquisition_is_recorded_in_flags():
    _, flags = measure(tube_voltage_kv=100.0, kernel="B70f", slice_thickness_mm=6.0)
    assert {"tube_voltage_not_120", "sharp_kernel", "thick_slices"} <= set(flags)
    rows, flags = measure(tube_voltage_kv=None)
    assert "tube_voltage_unknown" in flags
    assert "tube_voltage_unknown" in rows["L1", "bmd"].flags
    known, _ = measure()
    width = rows["L1", "bmd"].upper - rows["L1", "bmd"].lower
    assert width > known["L1", "bmd"].upper - known["L1", "bmd"].lower


def test_references_are_given_with_their_errors():
    rows, _ = measure(Spine(noise_hu=20))
    fat = rows["subcutaneous_fat", "reference_density"]
    assert fat.value == pytest.approx(-107.7, abs=1)
    assert fat.lower < -107.7 < fat.upper
    assert rows["air", "reference_density"].value == pytest.approx(-1000, abs=1)


def test_references_are_those_of_each_bodys_own_slices():
    """A scanner whose HU drift along the patient: the drift is in bone and in its references."""
    volume, labels = make_spine()
    drift = np.linspace(-25, 25, volume.grid.shape[2], dtype=np.float32)
    rows, _ = measure_bone_density(replace(volume, array=volume.array + drift), labels, SETTINGS)
    values = {row.level: row.value for row in rows if row.measure == "bmd" and row.level}
    for level, bmd in Spine().bmd.items():
        assert values[level] == pytest.approx(bmd, abs=4)


def test_a_survey_needs_no_voxels_any_more():
    volume, labels = make_spine(Spine(noise_hu=20))
    survey = pickle.loads(pickle.dumps(survey_bone(volume, labels)))
    assert measure_survey(survey, SETTINGS) == measure_bone_density(volume, labels, SETTINGS)
    assert choose_levels(survey) == ("L1", "L2")
    fat, muscle = (survey.references.tissues[name].hu for name in ("fat", "muscle"))
    expected = [(survey.levels[level].hu - fat) / (muscle - fat) for level in ("L1", "L2")]
    assert compute_mean_ratio(survey, ("L1", "L2")) == pytest.approx(np.mean(expected), abs=0.05)
    with pytest.raises(InputError, match="no ratio"):
        compute_mean_ratio(survey, ())


def test_wrong_input_is_refused_in_a_sentence():
    volume, labels = make_spine()
    with pytest.raises(InputError, match="measured on CT, and this image is MR"):
        measure_bone_density(Volume(volume.array, volume.grid, "MR"), labels)
    other = LabelMap(np.zeros_like(labels.array), labels.grid, read_label_schema())
    with pytest.raises(InputError, match="bone density needs those of 'bone_density_ct'"):
        measure_bone_density(volume, other)
    moved = LabelMap(labels.array, Grid(labels.grid.shape, np.diag([2.0, 2.0, 2.0, 1.0])), labels.schema)
    with pytest.raises(InputError, match="not on the image's grid"):
        measure_bone_density(volume, moved)


def test_a_trunk_is_as_large_as_the_water_that_attenuates_like_it():
    """157 cm2 of soft tissue at 20 HU and 70 cm2 of fat, before muscle, vessels and bone."""
    survey = survey_bone(*make_spine(Spine(bmd={"L1": 0.0, "L2": 0.0})))
    fat_cm2, rest_cm2 = np.pi * (10 * 7.2 - 8.6 * 5.8), np.pi * 8.6 * 5.8
    expected = 2 * np.sqrt((fat_cm2 * 0.892 + rest_cm2 * 1.02) / np.pi)
    assert survey.references.water_diameter_cm == pytest.approx(expected, abs=0.4)
    energy = SETTINGS.energy
    assert energy.at(120, 40.0)[0] - energy.at(120, 30.0)[0] == pytest.approx(10 * energy.per_cm_kev)


def test_references_have_no_voxel_of_their_border():
    """Fat whose border is half skin: only the border is left out."""
    volume, labels = make_spine()
    fat = labels.array == labels.schema["subcutaneous_fat"].index
    inner = fat & np.roll(fat, 1, 0) & np.roll(fat, -1, 0) & np.roll(fat, 1, 1) & np.roll(fat, -1, 1)
    array = volume.array.copy()
    array[fat & ~inner] = 0
    survey = survey_bone(replace(volume, array=array), labels)
    assert survey.references.tissues["fat"].hu == pytest.approx(-108, abs=0.1)
    assert 0 < survey.references.tissues["fat"].voxels <= inner.sum()
