"""Bone around the spine is seen from two sides, at the right height, whatever the axes of the file."""

import numpy as np
import pytest

from myotome.transforms import PROJECTION_MM, project_spine

AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])
AFFINE[:3, 3] = -120, -90, 300


def make_body() -> np.ndarray:
    """A body of soft tissue with a column of vertebrae every 32 mm, an arm's bone, and one brighter vertebra."""
    image = np.full((120, 90, 60), -1000, np.int16)
    image[10:110, 10:80] = 40
    for first in range(0, 60, 8):
        image[52:70, 20:40, first : first + 6] = 330
    image[52:70, 20:40, 24:30] = 1000  # slices 24 to 29: middle at z = 300 + 4 * 26.5
    image[2:6, 40:44] = 900
    return image


@pytest.mark.parametrize("flipped", [(), (0,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_the_brightest_vertebra_is_at_its_height_in_the_middle(order, flipped):
    image, affine = make_body().transpose(order), AFFINE[:, [*order, 3]].copy()
    for axis in flipped:
        affine[:, 3] += affine[:, axis] * (image.shape[axis] - 1)
        affine[:, axis] *= -1
        image = np.flip(image, axis)
    seen = project_spine(image, affine)
    assert seen.array.shape == (5, 64, 80)  # 60 slices of 4 mm in bins of 3 mm
    assert (seen.array[4] == 1).all() and seen.array.max() == 1
    for view in seen.array[:4]:
        across, along = np.nonzero(view > 0.9 * view.max())
        assert seen.z_mm(along.mean()) == pytest.approx(300 + 4 * 26.5, abs=0.6)
        assert across.mean() == pytest.approx(32, abs=4)
    widths = [np.ptp(np.nonzero(seen.array[channel] > 0.9)[0]) + 1 for channel in (0, 2)]
    assert widths == pytest.approx([18 * 2 / 3, 20 * 2 / 3], abs=1.5)


def test_a_bone_of_an_arm_is_not_the_spine():
    coronal = project_spine(make_body(), AFFINE).array[0]
    assert coronal[:20].max() == 0  # the arm is 96 mm or more to the side


def test_the_first_bin_and_the_spacing_say_where_a_bin_is():
    seen = project_spine(make_body(), AFFINE)
    middle = 300 + 4 * 29.5
    assert (seen.z_mm(0) + seen.z_mm(79)) / 2 == pytest.approx(middle)
    assert seen.z_mm(1) - seen.z_mm(0) == PROJECTION_MM


def test_no_bone_is_no_error():
    assert not project_spine(np.full((40, 40, 10), -50, np.int16), AFFINE).array[:4].any()
