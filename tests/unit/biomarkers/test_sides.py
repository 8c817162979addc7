"""The mid-sagittal plane of bodies that lie rotated, off centre, leaning, asymmetric or half outside the field."""

import numpy as np
import pytest

from myotome.biomarkers import MidsagittalPlane, find_midsagittal_plane
from myotome.geometry import Grid, Volume
from myotome.structures import LabelMap, read_label_schema
from tests.unit.biomarkers.bodies import Body, make_body

BODIES = {
    "straight": Body(),
    "off centre": Body(x_mm=31),
    "rotated": Body(rotation_deg=12),
    "rotated the other way, off centre": Body(x_mm=-20, rotation_deg=-25),
    "leaning": Body(lean=0.12),
    "leaning and rotated": Body(x_mm=10, lean=-0.1, rotation_deg=8),
    "wasted on the right": Body(right_share=0.5, rotation_deg=5),
    "without left pectoralis": Body(lost_pectoralis="left", x_mm=15),
    "cut off on the right": Body(field_right_mm=85),
    "cut off on the right, rotated": Body(field_right_mm=100, rotation_deg=-10, x_mm=8),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_the_plane_is_found(body):
    volume, label_map, _ = make_body(body)
    found = find_midsagittal_plane(volume, label_map)
    places = np.array([(0.0, y, z) for y in (-90, 0, 90) for z in (-80, 80)])
    places[:, 0] = body.plane.offset_mm + body.plane.lean * places[:, 2] + body.plane.rotation * places[:, 1]
    assert np.abs(found.distance_mm(places)).max() < 4.0
    assert found.rotation == pytest.approx(body.plane.rotation, abs=0.035)


@pytest.mark.parametrize("codes", ["LPS", "SAR", "ILA", "PIR"])
def test_any_orientation_finds_the_same_plane(codes):
    body = Body(x_mm=12, rotation_deg=10, lean=0.05)
    volume, label_map, side = make_body(body, codes)
    found = find_midsagittal_plane(volume, label_map)
    positions = np.argwhere(label_map.array > 0)
    distance = found.distance_mm(positions @ volume.grid.affine[:3, :3].T + volume.grid.affine[:3, 3])
    true = side[tuple(positions.T)]
    clear = np.abs(true) > 6
    assert ((distance > 0) == (true > 0))[clear].all()


def test_labels_alone_are_enough_where_no_bone_is_seen():
    volume, label_map, _ = make_body(Body(x_mm=9, rotation_deg=6))
    soft = Volume(np.minimum(volume.array, 60), volume.grid)
    assert find_midsagittal_plane(soft, label_map).rotation == pytest.approx(-np.tan(np.radians(6)), abs=0.03)


def test_without_anything_the_middle_of_the_image():
    grid = Grid((20, 20, 5), np.array([[2.0, 0, 0, 10], [0, 2, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]]))
    nothing = LabelMap(np.zeros(grid.shape, np.uint8), grid, read_label_schema())
    plane = find_midsagittal_plane(Volume(np.full(grid.shape, -1000, np.int16), grid), nothing)
    assert plane.offset_mm == pytest.approx(10 + 19, abs=2)


def test_mirror_and_distance():
    plane = MidsagittalPlane(5.0, 0.2, -0.3)
    points = np.random.default_rng(0).normal(0, 100, (50, 3))
    mirrored = plane.mirror(points)
    assert plane.distance_mm(mirrored) == pytest.approx(-plane.distance_mm(points))
    assert plane.mirror(mirrored) == pytest.approx(points)
    assert plane.distance_mm(np.array([105.0, 0, 0])) > 0


def test_index_form_gives_the_same_distance():
    plane = MidsagittalPlane(5.0, 0.2, -0.3)
    affine = np.array([[0, -0.8, 0, 3], [0.8, 0, 0, 5], [0, 0, 2.0, 7], [0, 0, 0, 1]])
    constant, slopes = plane.index_form(affine)
    index = np.array([3, 11, 2])
    assert constant + index @ slopes == pytest.approx(plane.distance_mm(affine[:3, :3] @ index + affine[:3, 3]))
