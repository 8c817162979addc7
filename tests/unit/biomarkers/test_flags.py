"""Each flag is raised by its cause and by nothing else."""

import numpy as np
import pytest

from myotome.biomarkers import measure_muscles
from myotome.biomarkers.flags import find_padding_value, truncation_flags
from myotome.geometry import Acquisition, Grid, Volume
from myotome.structures import LabelMap
from tests.unit.biomarkers.bodies import SHAPE, SPACING, make_body


def flags_of(rows, structure, side, measure="volume"):
    return next(r.flags for r in rows if (r.structure, r.side, r.measure) == (structure, side, measure))


def thin(volume, label_map, spacing_mm=2.0):
    """The same arrays with thinner slices."""
    affine = volume.grid.affine.copy()
    affine[:3, 2] *= spacing_mm / 8
    grid = Grid(volume.grid.shape, affine)
    return Volume(volume.array, grid, acquisition=volume.acquisition), LabelMap(label_map.array, grid, label_map.schema)


def make_case(body=None, keep=slice(4, -4)):
    """Thin slices, and labels only between the ends, so that nothing is flagged without a cause."""
    volume, label_map, _ = make_body(body)
    labels = np.zeros_like(label_map.array)
    labels[..., keep] = label_map.array[..., keep]
    return thin(volume, LabelMap(labels, label_map.grid, label_map.schema))


def test_a_good_scan_has_no_flags():
    rows, flags = measure_muscles(*make_case())
    assert flags == ()
    assert all(row.flags == () for row in rows if row.value is not None)


def test_thick_slices_by_spacing_and_by_header():
    volume, label_map, _ = make_body()
    rows, flags = measure_muscles(volume, label_map)
    assert flags == ("thick_slices",)
    assert "thick_slices" in flags_of(rows, "pectoralis", "both", "density")
    volume, label_map = make_case()
    for thickness, expected in ((5.0, ()), (6.0, ("thick_slices",)), (None, ())):
        case = Volume(volume.array, volume.grid, acquisition=Acquisition(slice_thickness_mm=thickness))
        assert measure_muscles(case, label_map)[1] == expected


def test_cut_by_the_first_and_last_slice():
    rows, _ = measure_muscles(*make_case(keep=slice(0, -4)))
    assert flags_of(rows, "pectoralis", "right") == ("cut_first_slice",)
    rows, _ = measure_muscles(*make_case(keep=slice(4, None)))
    assert flags_of(rows, "pectoralis", "right") == ("cut_last_slice",)


def test_truncated_by_the_border_of_the_image():
    volume, label_map = make_case()
    low, high = 20, 100
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * low
    array, labels = volume.array[low:high], label_map.array[low:high]
    grid = Grid(array.shape, affine)
    rows, _ = measure_muscles(Volume(array, grid), LabelMap(labels, grid, label_map.schema))
    assert flags_of(rows, "intercostal", "right") == ("truncated_right",)
    assert flags_of(rows, "intercostal", "left") == ("truncated_left",)
    assert flags_of(rows, "intercostal", "both") == ("truncated_right", "truncated_left")
    assert flags_of(rows, "erector_spinae", "both") == ()
    slices = [r for r in rows if r.slice_index is not None and (r.structure, r.side) == ("intercostal", "right")]
    assert all(r.flags == ("truncated_right",) for r in slices)


@pytest.mark.parametrize("padding", [-2000, -1024, 0])
def test_truncated_by_the_reconstruction_circle(padding):
    volume, label_map = make_case()
    x, y = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * 3.0 for n in SHAPE[:2]), indexing="ij")
    outside = np.hypot(x, y) > 120
    array, labels = volume.array.copy(), label_map.array.copy()
    array[array == -1000] = -990
    array[outside], labels[outside] = padding, 0
    rows, _ = measure_muscles(Volume(array, volume.grid), LabelMap(labels, volume.grid, label_map.schema))
    assert flags_of(rows, "intercostal", "right") == ("truncated_right",)
    assert flags_of(rows, "intercostal", "left") == ("truncated_left",)
    assert flags_of(rows, "erector_spinae", "both") == ()


def test_clipped_lung_is_not_the_edge_of_the_field():
    """Air clipped to the padding value beside an intercostal muscle is inside the body, not outside the circle."""
    volume, label_map = make_case()
    array = volume.array.copy()
    array[array == -850] = -1000
    assert find_padding_value(array) == -1000
    rows, _ = measure_muscles(Volume(array, volume.grid), label_map)
    assert flags_of(rows, "intercostal", "both") == ()


def test_an_arc_is_cut_towards_where_it_faces():
    spacing = (1.0, 1.0, 2.0)
    assert truncation_flags(np.array([0, 0, 0, 0]), spacing) == ()
    assert truncation_flags(np.array([4, 0, 0, 0]), spacing) == ()
    assert truncation_flags(np.array([94, 0, 34, 0]), spacing) == ("truncated_right",)
    assert truncation_flags(np.array([0, 70, 0, 70]), spacing) == ("truncated_left", "truncated_posterior")


@pytest.mark.parametrize(
    ("agent", "suspected"),
    [(None, False), ("", False), ("NONE", False), ("Iomeprol 400", True), ("APPLIED", True)],
)
def test_contrast_by_the_header(agent, suspected):
    volume, label_map = make_case()
    case = Volume(volume.array, volume.grid, acquisition=Acquisition(contrast_agent=agent))
    rows, flags = measure_muscles(case, label_map)
    assert ("contrast_suspected" in flags) is suspected
    assert ("contrast_suspected" in flags_of(rows, "pectoralis", "both", "density")) is suspected
    assert "contrast_suspected" not in flags_of(rows, "pectoralis", "both", "volume")


@pytest.mark.parametrize(("blood_hu", "suspected"), [(45, False), (75, False), (140, True), (300, True)])
def test_contrast_by_the_blood_pool(blood_hu, suspected):
    """A heart of 80 x 60 x 22 mm in noise of 40 HU."""
    volume, label_map = make_case()
    x, y, z = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, (3, 3, 2), strict=True)), indexing="ij"
    )
    heart = ((x + 15) / 40) ** 2 + ((y - 25) / 30) ** 2 + (z / 11) ** 2 <= 1
    array = volume.array.astype(float)
    array[heart] = blood_hu
    array += np.random.default_rng(0).normal(0, 40, array.shape)
    _, flags = measure_muscles(Volume(array.round().astype(np.int16), volume.grid), label_map)
    assert ("contrast_suspected" in flags) is suspected


def test_dense_vertebrae_are_not_contrast():
    volume, label_map = make_case()
    assert (volume.array == 300).sum() * np.prod(SPACING) / 4 > 10_000
    assert "contrast_suspected" not in measure_muscles(volume, label_map)[1]


def test_metal_is_a_cluster_not_a_speck():
    volume, label_map = make_case()
    array = volume.array.copy()
    array[60, 45, 10] = array[70, 45, 10] = 3071
    assert "metal" not in measure_muscles(Volume(array, volume.grid), label_map)[1]
    array[60:63, 45, 10] = 3071
    rows, flags = measure_muscles(Volume(array, volume.grid), label_map)
    assert "metal" in flags
    assert "metal" in flags_of(rows, "erector_spinae", "both", "density")


def test_flags_of_the_acquisition_are_passed_on():
    volume, label_map = make_case()
    case = Volume(volume.array, volume.grid, acquisition=Acquisition(flags=("missing_slices",)))
    rows, flags = measure_muscles(case, label_map)
    assert flags == ("missing_slices",)
    assert "missing_slices" in flags_of(rows, "pectoralis", "both")
