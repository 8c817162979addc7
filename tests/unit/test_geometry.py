"""Grids, volumes and reorientation, checked against hand-worked geometry and random affines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myotome.errors import GeometryError, InputError
from myotome.geometry import Grid, Volume, axis_codes, reorient, sheared, stand_upright

LPS = np.array([[-0.8, 0, 0, 100.0], [0, -0.7, 0, 90.0], [0, 0, 5.0, -300.0], [0, 0, 0, 1]])


def rotation(degrees):
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine


def test_a_grid_knows_its_spacing_volume_and_axes():
    grid = Grid((512, 400, 30), LPS)
    assert grid.spacing_mm == pytest.approx((0.8, 0.7, 5.0))
    assert grid.voxel_volume_mm3 == pytest.approx(0.8 * 0.7 * 5.0)
    assert grid.axis_codes == ("L", "P", "S")
    assert (grid.axis("LR"), grid.axis("AP"), grid.axis("IS")) == (0, 1, 2)


def test_spacing_survives_a_rotation():
    grid = Grid((4, 4, 4), rotation(30) @ LPS)
    assert grid.spacing_mm == pytest.approx((0.8, 0.7, 5.0))
    assert not sheared(grid.affine)


def test_the_affine_of_a_grid_cannot_be_changed():
    affine = LPS.copy()
    grid = Grid((2, 2, 2), affine)
    affine[0, 0] = 99
    assert grid.affine[0, 0] == -0.8
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 1


@pytest.mark.parametrize(
    ("shape", "affine", "sentence"),
    [
        ((4, 4), np.eye(4), "not a volume"),
        ((4, 4, 4, 2), np.eye(4), "not a volume"),
        ((4, 0, 4), np.eye(4), "not a volume"),
        ((4, 4, 4), np.diag([1.0, 1, 0, 1]), "spacing is zero"),
        ((4, 4, 4), np.full((4, 4), np.nan), "not a finite"),
        ((4, 4, 4), np.eye(3), "not a finite"),
        ((4, 4, 4), np.eye(4) + 0.1 * np.eye(4, k=1), "not a finite|sheared"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(shape, affine, sentence):
    with pytest.raises(GeometryError, match=sentence):
        Grid(shape, affine)


@pytest.mark.parametrize(("tilt_degrees", "refused"), [(0.0, False), (0.02, False), (0.5, True), (15.0, True)])
def test_a_tilted_gantry_shears_the_grid(tilt_degrees, refused):
    affine = np.eye(4)
    affine[1, 2] = np.tan(np.deg2rad(tilt_degrees))
    assert sheared(affine) is refused


def test_two_grids_are_the_same_when_every_corner_is():
    grid = Grid((100, 100, 10), LPS)
    nudged, stretched = LPS.copy(), LPS.copy()
    nudged[0, 3] += 0.005
    stretched[0, 0] *= 1.001  # 0.08 mm at the far corner
    assert grid.same_as(Grid((100, 100, 10), nudged))
    assert not grid.same_as(Grid((100, 100, 10), stretched))
    assert not grid.same_as(Grid((100, 100, 11), LPS))


def test_a_volume_fits_its_grid_and_is_finite():
    grid = Grid((2, 3, 4), np.eye(4))
    with pytest.raises(InputError, match="does not fit"):
        Volume(np.zeros((4, 3, 2)), grid)
    array = np.zeros((2, 3, 4), np.float32)
    array[1, 1, 1] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        Volume(array, grid)


@given(st.permutations(range(3)), st.tuples(*[st.sampled_from((-1, 1))] * 3), st.floats(-40, 40))
def test_reorienting_moves_no_voxel(order, signs, degrees):
    shape = (3, 4, 5)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for index, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, index] = sign * (index + 1)
    affine[:3, 3] = (7, -11, 13)
    affine = rotation(degrees) @ affine
    array = np.arange(60).reshape(shape)

    turned, turned_affine = reorient(array, affine)

    assert axis_codes(turned_affine) == ("R", "A", "S")
    for value in (0, 17, 59):
        before = affine @ [*np.argwhere(array == value)[0], 1]
        after = turned_affine @ [*np.argwhere(turned == value)[0], 1]
        np.testing.assert_allclose(before, after, atol=1e-9)


def test_reorienting_copies_nothing():
    array = np.zeros((3, 4, 5))
    turned, _ = reorient(array, LPS)
    assert np.shares_memory(array, turned)


@pytest.mark.parametrize(
    ("shape", "spacing", "across", "axis"),
    [
        ((40, 1, 30), (1, 1, 1), "IS", 1),  # the only slice
        ((40, 40, 40), (4.0, 0.5, 0.5), "IS", 0),  # the coarsest axis
        ((40, 40, 40), (1.0, 1.0, 1.2), "LR", 0),  # nothing tells but the expectation
        ((40, 40, 40), (1.0, 1.0, 1.2), "IS", 2),
        ((1, 1, 30), (1, 1, 1), "PA", 1),
    ],
)
def test_slices_follow_each_other_along_one_axis(shape, spacing, across, axis):
    assert Grid(shape, np.diag([*spacing, 1.0])).slice_axis(across) == axis


@given(st.permutations("RAS"), st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2))
def test_a_slice_stands_upright_whatever_the_order_of_axes(order, flips, world):
    """Head up, or in axial slices front up; front left, or in the others the patient's right."""
    codes = "".join({"R": "L", "A": "P", "S": "I"}[c] if flip else c for c, flip in zip(order, flips, strict=True))
    array, affine = reorient(np.arange(4 * 5 * 6).reshape(4, 5, 6), np.eye(4), codes)
    grid = Grid(array.shape, affine)
    across = grid.axis(("LR", "PA", "IS")[world])
    turn = stand_upright(grid, across)
    place = grid.shape[across] // 2
    plane = turn.plane(array, place)
    others = [axis for axis in range(3) if axis != across]
    for corner in (np.zeros(3, int), np.array(grid.shape) - 1):
        index = corner.copy()
        index[across] = place
        row, column = turn.locate(grid.shape, tuple(index[others]))
        assert plane[row, column] == array[tuple(index)]
    down, right = {0: ((0, 0, -1), (0, -1, 0)), 1: ((0, 0, -1), (-1, 0, 0)), 2: ((0, -1, 0), (-1, 0, 0))}[world]
    first = np.argwhere(array == plane[0, 0])[0]
    below, beside = (np.argwhere(array == value)[0] for value in (plane[1, 0], plane[0, 1]))
    np.testing.assert_array_equal(affine[:3, :3] @ (below - first), down)
    np.testing.assert_array_equal(affine[:3, :3] @ (beside - first), right)
