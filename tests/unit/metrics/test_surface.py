"""Surface distances against boxes and spheres whose answers are known, and against MONAI."""

import numpy as np
import pytest

from myotome.metrics import (
    compute_assd,
    compute_hausdorff,
    compute_nsd,
    compute_rms_dta,
    compute_surface_distances,
)

SPACING = (0.8, 1.0, 3.0)


def make_box(shape, low, high):
    box = np.zeros(shape, bool)
    box[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return box


def make_sphere(shape, spacing, radius):
    axes = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= radius**2


def test_a_mask_agrees_with_itself():
    box = make_box((12, 12, 12), (2, 3, 4), (9, 9, 9))
    distances = compute_surface_distances(box, box, SPACING)
    assert compute_nsd(distances, 0.0) == 1
    assert compute_hausdorff(distances) == compute_assd(distances) == compute_rms_dta(distances) == 0


def test_area_of_a_box_approaches_the_true_area():
    box = make_box((50, 50, 30), (5, 5, 5), (45, 45, 25))
    area = compute_surface_distances(box, box, SPACING).reference_size.sum()
    a, b, c = 40 * 0.8, 40 * 1.0, 20 * 3.0
    assert area == pytest.approx(2 * (a * b + b * c + a * c), rel=0.03)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_box_shifted_by_two_voxels(axis):
    low, high = np.array([6, 6, 6]), np.array([16, 16, 16])
    reference = make_box((24, 24, 24), low, high)
    shift = 2 * np.eye(3, dtype=int)[axis]
    prediction = make_box((24, 24, 24), low + shift, high + shift)
    distances = compute_surface_distances(reference, prediction, SPACING)
    shift_mm = 2 * SPACING[axis]
    assert compute_hausdorff(distances, 100) == pytest.approx(shift_mm)
    assert compute_hausdorff(distances, 95) == pytest.approx(shift_mm)
    assert compute_nsd(distances, shift_mm + 1e-6) == 1
    assert compute_nsd(distances, SPACING[axis] / 2) < 1


def test_parallel_planes_are_apart_by_what_separates_them():
    """Two contours of which one is the other moved along z: top and bottom faces dominate a wide, flat box."""
    reference = make_box((80, 80, 14), (0, 0, 4), (80, 80, 6))
    prediction = make_box((80, 80, 14), (0, 0, 5), (80, 80, 7))
    distances = compute_surface_distances(reference, prediction, (2.0, 2.0, 1.0))
    assert compute_assd(distances) == pytest.approx(1.0, abs=0.03)
    assert compute_rms_dta(distances) == pytest.approx(1.0, abs=0.03)


def test_concentric_spheres():
    shape = (76, 60, 44)
    spacing = (0.8, 1.0, 1.5)
    distances = compute_surface_distances(make_sphere(shape, spacing, 20), make_sphere(shape, spacing, 24), spacing)
    half_voxel = 0.75
    assert compute_assd(distances) == pytest.approx(4, abs=half_voxel)
    assert compute_rms_dta(distances) == pytest.approx(4, abs=half_voxel)
    assert compute_hausdorff(distances) == pytest.approx(4, abs=half_voxel)
    assert compute_nsd(distances, 2.5) == pytest.approx(0, abs=0.02)
    assert compute_nsd(distances, 5.0) == 1


def test_spheres_converge_with_the_spacing():
    errors = []
    for spacing, size in ((2.0, 28), (1.0, 54), (0.5, 106)):
        pair = [make_sphere((size,) * 3, (spacing,) * 3, radius) for radius in (18, 22)]
        errors.append(abs(4 - compute_assd(compute_surface_distances(*pair, (spacing,) * 3))))
    assert errors[0] < 1.0 and errors[1] < 0.6 * errors[0] and errors[2] < 0.6 * errors[1]


def test_nsd_equals_monai_with_subvoxels():
    import torch
    from monai.metrics import compute_surface_dice

    rng = np.random.default_rng(2)
    reference = make_sphere((30, 28, 16), SPACING, 9)
    prediction = np.roll(reference, (1, -2, 1), (0, 1, 2)) ^ (rng.random(reference.shape) > 0.98)
    distances = compute_surface_distances(reference, prediction, SPACING)
    pair = [torch.from_numpy(np.stack([~mask, mask]))[None].float() for mask in (prediction, reference)]
    for tolerance in (0.5, 1.0, 2.0, 3.5):
        expected = compute_surface_dice(*pair, [tolerance], spacing=SPACING, use_subvoxels=True)
        assert compute_nsd(distances, tolerance) == pytest.approx(float(expected), abs=1e-4)


def test_distances_agree_with_monai_within_a_voxel():
    """MONAI's other surface metrics measure between edge voxels, not areas: smooth shapes must still agree."""
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    spacing = (0.8, 0.8, 1.0)
    reference, prediction = make_sphere((60, 60, 50), spacing, 14), make_sphere((60, 60, 50), spacing, 18)
    distances = compute_surface_distances(reference, prediction, spacing)
    pair = [torch.from_numpy(np.stack([~mask, mask]))[None].float() for mask in (prediction, reference)]
    hd95 = float(compute_hausdorff_distance(*pair, percentile=95, spacing=spacing))
    assd = float(compute_average_surface_distance(*pair, symmetric=True, spacing=spacing))
    assert compute_hausdorff(distances) == pytest.approx(hd95, abs=0.5)
    assert compute_assd(distances) == pytest.approx(assd, abs=0.5)


def test_contours_in_two_dimensions():
    reference = make_box((20, 20), (4, 4), (14, 14))
    prediction = make_box((20, 20), (4, 7), (14, 17))
    distances = compute_surface_distances(reference, prediction, (0.5, 2.0))
    assert compute_hausdorff(distances, 100) == pytest.approx(6.0)
    assert distances.reference_size.sum() == pytest.approx(2 * 10 * 0.5 + 2 * 10 * 2.0, rel=0.1)


def make_circle(spacing, size, radius_mm, shift_mm=(0.0, 0.0)):
    axes = [(np.arange(count) - (count - 1) / 2) * step for count, step in zip(size, spacing, strict=True)]
    x, y = np.meshgrid(*axes, indexing="ij")
    return (x - shift_mm[0]) ** 2 + (y - shift_mm[1]) ** 2 <= radius_mm**2


@pytest.mark.parametrize("spacing", [(0.8, 0.8), (0.7, 0.9)])
@pytest.mark.parametrize("step_mm", [3.0, 8.0])
def test_concentric_circles_are_apart_by_their_radii(spacing, step_mm):
    """Every point of either circle is ``step_mm`` from the other: mean, RMS and the largest distance are that."""
    pair = [make_circle(spacing, (160, 140), radius) for radius in (40, 40 + step_mm)]
    distances = compute_surface_distances(*pair, spacing)
    half_pixel = max(spacing) / 2
    assert compute_rms_dta(distances) == pytest.approx(step_mm, abs=half_pixel)
    assert compute_assd(distances) == pytest.approx(step_mm, abs=half_pixel)
    lengths = distances.reference_size.sum(), distances.prediction_size.sum()
    assert lengths == pytest.approx((2 * np.pi * 40, 2 * np.pi * (40 + step_mm)), rel=0.08)


def test_a_shifted_circle_has_the_rms_of_a_cosine():
    """A circle of radius R shifted by d: a point at angle t is |R - sqrt(R2 + d2 - 2 R d cos t)| from the other one."""
    radius, shift, spacing = 45.0, 6.0, (0.5, 0.5)
    pair = [make_circle(spacing, (260, 260), radius, (shift * half, 0.0)) for half in (-0.5, 0.5)]
    angle = np.linspace(0, 2 * np.pi, 20000, endpoint=False)
    apart = np.abs(radius - np.sqrt(radius**2 + shift**2 - 2 * radius * shift * np.cos(angle)))
    expected = np.sqrt(np.mean(apart**2))
    assert expected == pytest.approx(shift / np.sqrt(2), rel=0.02)
    assert compute_rms_dta(compute_surface_distances(*pair, spacing)) == pytest.approx(expected, abs=0.25)


def test_empty_masks():
    empty, box = np.zeros((6, 6, 6), bool), make_box((6, 6, 6), (1, 1, 1), (4, 4, 4))
    nothing = compute_surface_distances(empty, empty, SPACING)
    assert compute_nsd(nothing, 2.0) is None
    assert compute_hausdorff(nothing) is None and compute_assd(nothing) is None and compute_rms_dta(nothing) is None
    for pair in ((empty, box), (box, empty)):
        missed = compute_surface_distances(*pair, SPACING)
        assert compute_nsd(missed, 2.0) == 0
        assert compute_hausdorff(missed) is None and compute_assd(missed) is None and compute_rms_dta(missed) is None


def test_what_is_not_annotated_does_not_count():
    reference = make_box((30, 12, 12), (3, 3, 3), (9, 9, 9))
    prediction = reference | make_box((30, 12, 12), (20, 3, 3), (26, 9, 9))
    ignore = make_box((30, 12, 12), (15, 0, 0), (30, 12, 12))
    assert compute_hausdorff(compute_surface_distances(reference, prediction, SPACING)) > 8
    counted = compute_surface_distances(reference & ~ignore, prediction & ~ignore, SPACING, ignore)
    assert compute_hausdorff(counted, 100) == 0
    assert compute_nsd(counted, 0.0) == 1
