"""The bone phantom: of the density it says, at every voltage as physics has it, and spoilt only as it was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from myotome.attenuation import compute_hu, compute_k2hpo4_slope
from myotome.errors import InputError
from myotome.phantoms.bone import (
    LEVELS,
    QCT_PHANTOMS,
    SCANNERS,
    BoneCase,
    BoneScan,
    make_bone,
    make_bone_person,
    make_bone_scan,
)
from myotome.phantoms.bone.tissues import REFERENCE_KEV, compute_bone_hu, compute_effective_kev, compute_tissues

# Nothing between the drawing and the image, and no more of the spine than T12 and L1.
CLEAN = BoneScan(noise_hu=0.0, blur_mm=0.05, table=False, in_plane_mm=2.0, matrix=210, top=11.5, bottom=13.5)


def find(wanted, first: int = 0) -> int:
    """The first seed whose person is as wanted."""
    return next(seed for seed in range(first, first + 2000) if wanted(make_bone_person(seed)))


PLAIN = find(lambda p: p.body.condition == "none" and p.vertebrae["T12"].height_loss_percent < 5 and p.bmd_mg_cm3 > 90)


@pytest.fixture(scope="module")
def case() -> BoneCase:
    return make_bone(PLAIN, CLEAN)


def deep(case: BoneCase, structure: str, iterations: int = 2) -> np.ndarray:
    """HU of a structure's voxels (N,) that lie inside it in their own slice."""
    labels = case.label_map.array == case.label_map.schema[structure].index
    inside = ndimage.binary_erosion(labels, np.ones((3, 3, 1)), iterations=iterations)
    return case.volume.array[inside].astype(float)


def front_of_body(case: BoneCase, level: str) -> np.ndarray:
    """HU of a body's inside (N,) from 5 mm below its surface on, before its vein."""
    labels = case.label_map.array == LEVELS.index(level) + 1
    inside = ndimage.binary_erosion(labels, np.ones((5, 5, 3)))
    row = np.flatnonzero(labels.any(axis=(0, 2)))
    inside[:, : int(row.mean()) + 2] = False
    return case.volume.array[inside].astype(float)


def test_same_seed_gives_the_same_bytes(case):
    again = make_bone(PLAIN, CLEAN)
    assert again.volume.array.tobytes() == case.volume.array.tobytes()
    assert again.label_map.array.tobytes() == case.label_map.array.tobytes()
    assert again.truth == case.truth


@pytest.mark.parametrize("voltage", [80.0, 120.0])
def test_tissues_have_the_hu_of_their_composition(case, voltage):
    scan = replace(CLEAN, tube_voltage_kv=voltage)
    scanned = case if voltage == 120.0 else make_bone(PLAIN, scan)
    person = make_bone_person(PLAIN)
    energy = scanned.truth["effective_kev"]
    assert np.median(deep(scanned, "air")) == -1000
    fat = float(compute_hu({"adipose": person.fat_g_cm3}, energy))
    assert np.median(deep(scanned, "subcutaneous_fat")) == pytest.approx(fat, abs=1)
    blood = float(compute_hu({"blood": person.blood_g_cm3}, energy))
    assert np.median(deep(scanned, "aorta", 1)) == pytest.approx(blood, abs=1)
    muscle = float(compute_hu({"muscle": person.muscle_g_cm3}, energy))
    lean = muscle - person.body.diffuse_fat * (muscle - fat)
    assert np.median(deep(scanned, "erector_spinae")) == pytest.approx(lean, abs=8)


def test_at_120_kv_the_tissues_are_where_readers_know_them():
    people = [make_bone_person(seed) for seed in range(60)]
    tissues = [compute_tissues(person, BoneScan()) for person in people]
    for name, low, high in (("fat", -108, -95), ("muscle", 52, 60), ("aorta", 38, 51)):
        values = np.array([row[name] for row in tissues])
        assert low < np.percentile(values, 3) and np.percentile(values, 97) < high, name
        assert values.std() > 1, name


def test_trabecular_bone_is_the_k2hpo4_solution_of_its_density_at_120_kv():
    """At 68 keV by definition; below it fat in the marrow makes bone look thinner, above it denser."""
    person = make_bone_person(PLAIN)
    found = {}
    for energy in (54.0, REFERENCE_KEV, 74.0):
        hu = compute_bone_hu(person, energy).trabecular(100.0)
        found[energy] = hu / float(compute_k2hpo4_slope(energy))
    assert found[REFERENCE_KEV] == pytest.approx(100.0, abs=1e-6)
    assert 88 < found[54.0] < 97 and 100 < found[74.0] < 104


@pytest.mark.parametrize("level", ["T12", "L1"])
def test_a_vertebra_has_its_density_in_the_image(case, level):
    truth = case.truth["levels"][level]
    inside = front_of_body(case, level)
    assert inside.size > 60
    slope = float(compute_k2hpo4_slope(case.truth["effective_kev"]))
    assert inside.mean() / slope == pytest.approx(truth["bmd_mg_cm3"], rel=0.04)


def test_another_scan_is_of_the_same_person(case):
    other = make_bone(PLAIN, replace(CLEAN, tube_voltage_kv=100.0, hu_offset=15.0, bottom=12.8, acquisition_seed=4))
    for name in ("bmd_mg_cm3", "osteoporosis", "reference_levels", "age_years", "sex"):
        assert other.truth[name] == case.truth[name]
    assert other.truth["levels"]["T12"]["bmd_mg_cm3"] == case.truth["levels"]["T12"]["bmd_mg_cm3"]
    assert case.truth["levels"]["L1"]["whole"] and not other.truth["levels"]["L1"]["whole"]
    assert set(case.truth["levels"]) == set(other.truth["levels"]) == {"T12", "L1"}


def test_noise_is_that_of_the_acquisition_seed():
    short = replace(CLEAN, top=12.0, bottom=12.3, noise_hu=20.0)
    first, again, other = (make_bone(PLAIN, replace(short, acquisition_seed=seed)).volume.array for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert 8 < (first.astype(float) - other)[first > -300].std() < 70


def test_a_scanner_shows_slope_and_offset():
    short = replace(CLEAN, top=12.0, bottom=12.3)
    true, shown = (make_bone(PLAIN, scan) for scan in (short, replace(short, hu_slope=1.02, hu_offset=-12.0)))
    body = true.volume.array > -900
    expected = 1.02 * true.volume.array[body] - 12
    assert np.abs(shown.volume.array[body] - expected)[true.volume.array[body] < 2900].max() <= 1.1


def test_cupping_darkens_the_middle_alone():
    short = replace(CLEAN, top=12.0, bottom=12.3)
    flat, cupped = (make_bone(PLAIN, scan) for scan in (short, replace(short, cupping_hu=20.0)))
    darker = flat.volume.array.astype(float) - cupped.volume.array
    labels = flat.label_map.array
    assert darker[(labels >= 1) & (labels <= 8)].mean() > 8
    assert darker[labels == 13].mean() < 0.1
    assert darker[labels == 10].mean() < darker[labels == 11].mean() < darker[(labels >= 1) & (labels <= 8)].mean()


def test_bodies_are_labelled_by_level_and_lie_where_the_truth_says():
    whole = make_bone(PLAIN, replace(CLEAN, top=7.4, bottom=15.5, slice_thickness_mm=8.0, in_plane_mm=3.0, matrix=140))
    labels, affine = whole.label_map.array, whole.volume.grid.affine
    assert set(np.unique(labels)) == set(range(14))
    assert list(whole.truth["levels"]) == list(LEVELS)
    for number, name in enumerate(LEVELS, 1):
        z = affine[2, 3] + affine[2, 2] * np.argwhere(labels == number)[:, 2]
        assert z.mean() == pytest.approx(whole.truth["levels"][name]["z_mm"], abs=3.0)
    assert all(level["whole"] for level in whole.truth["levels"].values())


def test_lost_height_is_lost_in_the_label_map():
    """A wedge: the fractured body is lower in front by the share that the truth says, within two slices of 2 mm."""
    seed = find(lambda p: p.vertebrae["L1"].height_loss[0] > 0.3 and p.body.condition == "none")
    scan = replace(CLEAN, top=12.3, bottom=13.7, slice_thickness_mm=2.0, in_plane_mm=2.0)
    case = make_bone(seed, scan)
    assert "L1" in case.truth["fractured"]
    columns = (case.label_map.array == LEVELS.index("L1") + 1).sum(axis=2).max(axis=0)
    rows = np.flatnonzero(columns)
    front, back = columns[rows[-3]], columns[rows[2]]
    loss = make_bone_person(seed).vertebrae["L1"].height_loss
    assert front / back == pytest.approx((1 - loss[0]) / (1 - loss[2]), abs=0.17)


def test_people_have_the_paper_s_prevalence_and_lose_bone_with_age():
    people = [make_bone_person(seed) for seed in range(1600)]
    density = np.array([person.bmd_mg_cm3 for person in people])
    age = np.array([person.body.age_years for person in people])
    assert 0.07 < (density < 80).mean() < 0.115
    assert density[age < 45].mean() > density[age > 70].mean() + 40
    fractured = np.array([any(p.vertebrae[n].height_loss_percent > 20 for n in LEVELS) for p in people])
    assert fractured[density < 80].mean() > 5 * fractured[density > 120].mean()
    for person in people[:200]:
        assert all(person.vertebrae[name].height_loss_percent <= 20 for name in person.reference_levels)


def test_contrast_agent_brightens_blood_the_more_the_lower_the_voltage():
    person = make_bone_person(PLAIN)
    gained = []
    for voltage in (80.0, 120.0):
        plain, venous = (
            compute_tissues(person, BoneScan(tube_voltage_kv=voltage, contrast=phase)) for phase in ("none", "venous")
        )
        gained.append(venous["aorta"] - plain["aorta"])
        assert 2 < venous["marrow"] - plain["marrow"] < 30
    assert gained[1] > 80 and gained[0] > 1.3 * gained[1]


def test_metal_is_in_the_vertebrae_it_was_asked_for(case):
    spoilt = make_bone(PLAIN, replace(CLEAN, metal=True))
    assert spoilt.truth["metal"] and not case.truth["metal"]
    assert (spoilt.volume.array > 2800).sum() > 20 > (case.volume.array > 2800).sum()


@pytest.mark.parametrize("kind", QCT_PHANTOMS)
def test_rods_show_their_hu_where_the_truth_says(kind):
    short = replace(CLEAN, top=12.0, bottom=12.3, qct_phantom=kind, hu_slope=1.01, hu_offset=6.0)
    case = make_bone(PLAIN, short)
    assert case.truth["qct_phantom"]["kind"] == kind
    rods = case.truth["qct_phantom"]["rods"]
    assert tuple(rod["density_mg_cm3"] for rod in rods) == QCT_PHANTOMS[kind]
    affine = case.volume.grid.affine
    x = affine[0, 3] + affine[0, 0] * np.arange(short.matrix)
    for rod in rods:
        inside = np.hypot(x[:, None] - rod["x_mm"], x[None, :] - rod["y_mm"]) < rod["radius_mm"] - 3
        shown = case.volume.array[:, :, 0][inside]
        assert shown.mean() == pytest.approx(rod["hu"], abs=0.6)
        assert not case.label_map.array[:, :, 0][inside].any()
    slope = (rods[-1]["hu"] - rods[0]["hu"]) / rods[-1]["density_mg_cm3"]
    if kind == "k2hpo4":
        assert slope == pytest.approx(1.01 * float(compute_k2hpo4_slope(case.truth["effective_kev"])), rel=1e-3)


def test_a_heavy_back_does_not_sink_into_the_rods():
    sides = BoneScan(
        noise_hu=0.0, table=False, in_plane_mm=2.0, matrix=225, top=13.5, bottom=14.5, qct_phantom="k2hpo4"
    )
    case = make_bone(2200002, sides)  # the back hangs down on both sides of the spine by 16 mm
    axis = (np.arange(225) - 112) * 2.0
    for rod in case.truth["qct_phantom"]["rods"]:
        inside = np.hypot(axis[:, None] - rod["x_mm"], axis[None, :] - rod["y_mm"]) < rod["radius_mm"] - 3
        shown = case.volume.array[inside]
        assert np.abs(shown - rod["hu"]).max() < 3


def test_a_truncated_field_has_neither_air_nor_fat_outside():
    case = make_bone(PLAIN, replace(CLEAN, top=12.0, bottom=12.3, field_mm=200.0))
    axis = (np.arange(210) - 104.5) * 2.0
    outside = np.hypot(axis[:, None], axis[None, :]) > 100
    assert (case.volume.array[outside] == -1024).all()
    assert not case.label_map.array[outside].any()


def test_bigger_bodies_and_other_tubes_harden_the_beam():
    people = sorted((make_bone_person(seed) for seed in range(40)), key=lambda person: person.body.bmi_kg_m2)
    thin, heavy = (compute_effective_kev(person, BoneScan()) for person in (people[0], people[-1]))
    assert 66 < thin < heavy < 70.5
    assert compute_effective_kev(people[0], BoneScan(energy_shift_kev=1.5)) == pytest.approx(thin + 1.5)


def test_sampled_scans_are_low_dose_and_of_all_scanners():
    scans = [make_bone_scan(seed) for seed in range(200)]
    assert {scan.scanner for scan in scans} == set(SCANNERS)
    assert {scan.contrast for scan in scans} == {"none"} and not any(scan.metal for scan in scans)
    assert {scan.tube_voltage_kv for scan in scans} >= {100.0, 120.0, 140.0}
    assert 0.15 < np.mean([scan.sharpening > 0 for scan in scans]) < 0.35
    assert all(scan.noise_hu >= 9 for scan in scans)
    assert all(abs(scan.hu_offset) < 20 and abs(scan.hu_slope - 1) < 0.03 for scan in scans)
    assert 0.55 < np.mean([scan.bottom > 14.45 for scan in scans]) < 0.85, "most show L2, many end above it"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"contrast": "hepatic"}, "hepatic"),
        ({"tube_voltage_kv": 70.0}, "70 kV"),
        ({"slice_thickness_mm": 0.0}, "thickness"),
        ({"top": 14.0, "bottom": 12.0}, "14 to 12"),
        ({"top": 5.0}, "5 to"),
        ({"qct_phantom": "wax"}, "wax"),
        ({"hu_slope": -1.0}, "-1"),
    ],
)
def test_a_scan_that_cannot_be_made_is_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        replace(CLEAN, **wrong)
