"""The thorax phantom: replayable, continuous, and true to what it says of itself."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.phantoms.thorax import PARTIAL_CORRELATION, Scan, make_lung_function, make_person, make_scan, make_thorax
from myotome.phantoms.thorax.anatomy import Thorax
from myotome.phantoms.thorax.rendering import SliceRenderer

COARSE = Scan(slice_thickness_mm=8.0, in_plane_mm=3.0, matrix=140, noise_hu=0.0, blur_mm=0.3, sub_slice_mm=4.0)


@pytest.fixture(scope="module")
def case():
    return make_thorax(7, COARSE)


def render(seed: int, height_fraction: float, in_plane_mm: float = 2.0):
    thorax = Thorax(make_person(seed))
    x, y = np.arange(-250, 251, in_plane_mm), np.arange(-190, 191, in_plane_mm)
    return SliceRenderer(thorax, x, y, table=False).render(height_fraction * thorax.person.thorax_height)


def test_same_seed_gives_the_same_bytes(case):
    again = make_thorax(7, COARSE)
    assert again.volume.array.tobytes() == case.volume.array.tobytes()
    assert again.label_map.array.tobytes() == case.label_map.array.tobytes()
    assert again.truth == case.truth


def test_label_map_holds_the_four_muscles(case):
    assert set(np.unique(case.label_map.array)) == {0, 1, 2, 3, 4}


def test_super_sampled_volume_agrees_with_the_label_map(case):
    """Voxel counting on thick voxels is rougher than the shares, but not by much for a compact muscle."""
    voxel_ml = case.label_map.grid.voxel_volume_mm3 / 1000
    counted = (case.label_map.array == 2).sum() * voxel_ml
    assert counted == pytest.approx(case.truth["erector_spinae_volume_ml"], rel=0.08)


def test_shares_never_exceed_the_voxel():
    _, shares = render(3, 0.7)
    assert shares.min() >= -1e-5
    assert shares.sum(axis=0).max() <= 1 + 1e-4


def test_area_does_not_depend_on_the_grid():
    """The shapes are continuous: a grid twice as fine finds the same cross-section."""
    coarse, fine = (render(5, 0.71, step)[1].sum(axis=(1, 2)) * step**2 for step in (1.0, 0.5))
    assert coarse == pytest.approx(fine, rel=0.02)


def test_muscle_lies_in_the_muscle_range_and_ribs_above_it():
    hu, shares = render(4, 0.71)
    pure = shares.max(axis=0) > 0.999
    assert np.mean((hu[pure] > -29) & (hu[pure] < 150)) > 0.85  # the rest are fat streaks
    assert hu.max() > 400


def test_pectoralis_is_in_front_and_erector_spinae_behind():
    _, shares = render(2, 0.72)
    y = np.arange(-190, 191, 2.0)
    centre = (shares * y[None, None]).sum(axis=(1, 2)) / shares.sum(axis=(1, 2))
    assert centre[0] > 40
    assert centre[1] < -60


def test_intercostal_lies_between_ribs_and_lung():
    """Going inward from intercostal muscle one meets lung, never more than a wall's thickness away."""
    thorax = Thorax(make_person(6))
    _, shares = render(6, 0.55, 1.0)
    x, y = np.arange(-250, 251, 1.0), np.arange(-190, 191, 1.0)
    radius = np.hypot(x[:, None], y[None, :])[shares[2] > 0.5]
    theta = np.arctan2(x[:, None] + 0 * y, y[None, :] + 0 * x[:, None])[shares[2] > 0.5]
    outer = np.interp(theta, thorax.theta, thorax.rib_cage(0.55))
    assert np.all(radius < outer + 1)
    assert np.all(radius > outer - thorax.person.wall - 1)


def test_more_muscle_means_more_volume():
    areas = {}
    for seed in range(40):
        person = make_person(seed)
        if person.male:
            _, shares = render(seed, 0.71, 3.0)
            areas[person.muscle] = shares.sum()
    muscle = np.array(sorted(areas))
    assert np.corrcoef(muscle, [areas[m] for m in muscle])[0, 1] > 0.8


def test_scans_cover_the_stated_range():
    scans = [make_scan(seed) for seed in range(300)]
    assert {scan.slice_thickness_mm for scan in scans} >= {1.0, 3.0, 5.0, 8.0}
    assert 0.6 <= min(scan.in_plane_mm for scan in scans) < 0.65
    assert 0.95 < max(scan.in_plane_mm for scan in scans) <= 1.0
    assert {scan.contrast for scan in scans} == {"none", "venous", "arterial"}


def test_truncated_field_is_padded_and_unlabelled():
    case = make_thorax(8, Scan(8.0, 3.0, 140, field_mm=250.0, noise_hu=0.0, sub_slice_mm=8.0, bottom=0.5, top=0.7))
    axis = (np.arange(140) - 69.5) * 3.0
    outside = np.hypot(axis[:, None], axis[None, :]) > 125
    assert np.all(case.volume.array[outside] == -1024)
    assert np.all(case.label_map.array[outside] == 0)


def test_noise_follows_the_dose():
    """The standard deviation inside the liver's level equals the stated one, corrected for thickness and body size."""
    quiet, loud = (
        make_thorax(9, Scan(8.0, 2.0, 200, noise_hu=n, bottom=0.4, top=0.45)).volume.array for n in (0.0, 20.0)
    )
    noise = (loud.astype(int) - quiet)[80:120, 80:120]
    assert 8 < noise.std() < 40


def test_lung_function_has_the_stated_partial_correlation():
    """Over many people of one sex, the correlation of muscle with FVC given age and height is the stated one."""
    people = [person for person in map(make_person, range(3000)) if person.male and person.disease != "copd"]
    measured = np.array([make_lung_function(person)["fvc_l"] for person in people])
    muscle = np.array([person.muscle_z for person in people])
    design = np.array([[1, person.age_years, person.height_m] for person in people])
    residual = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (measured, muscle)]
    assert np.corrcoef(residual)[0, 1] == pytest.approx(PARTIAL_CORRELATION["fvc_l"], abs=0.06)


def test_fev1_stays_below_fvc():
    for seed in range(200):
        values = make_lung_function(make_person(seed, spread=2.0))
        assert 0 < values["fev1_l"] <= values["fvc_l"]
