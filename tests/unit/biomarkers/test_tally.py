"""The one pass counts the same however the voxels lie in memory, and whatever number a label has."""

from dataclasses import fields

import numpy as np
import pytest

from myotome.biomarkers.sides import MidsagittalPlane
from myotome.biomarkers.tally import count_voxels
from myotome.geometry import Grid, Volume
from myotome.structures import Code, LabelMap, LabelSchema, Structure

SHAPE = (23, 31, 40)  # more slices than are looked at in one go
PLANE = MidsagittalPlane(11.0, lean=0.05, rotation=0.03)


def make_case(label=250, dtype=np.int16):
    """A cylinder of one label through a padded image, cut by its border; only the upper part is labelled."""
    rng = np.random.default_rng(5)
    hu = rng.normal(20, 90, SHAPE).round().astype(dtype)
    x, y = np.ogrid[: SHAPE[0], : SHAPE[1]]
    hu[(x - 11) ** 2 + (y - 15) ** 2 > 16**2] = -2000
    labels = np.zeros(SHAPE, np.uint8)
    labels[(x - 4) ** 2 + (y - 15) ** 2 < 16**2] = label
    labels[..., :9] = 0
    code = Code("85756007", "SCT", "Tissue")
    structures = tuple(Structure(i, f"s_{i}", f"Structure {i}", code, code, (255, 0, 0)) for i in range(1, 251))
    grid = Grid(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
    return Volume(hu, grid), LabelMap(labels, grid, LabelSchema("many", structures))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_every_layout_gives_the_same_counts(dtype):
    volume, label_map = make_case(dtype=dtype)
    expected = count_voxels(volume, label_map, PLANE)
    assert expected.contact.any() and expected.padded.any()
    for image_order in "CF":
        for label_order in "CF":
            image = Volume(np.asarray(volume.array, order=image_order), volume.grid)
            labels = LabelMap(np.asarray(label_map.array, order=label_order), label_map.grid, label_map.schema)
            found = count_voxels(image, labels, PLANE)
            for field in fields(found):
                np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


@pytest.mark.parametrize("threads", ["3", "2,1", ""])
def test_threads_count_the_same(monkeypatch, threads):
    case = make_case()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    expected = count_voxels(*case, PLANE)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    found = count_voxels(*case, PLANE)
    for field in fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


def test_label_above_127_keeps_its_side():
    volume, label_map = make_case()
    counted = count_voxels(volume, label_map, PLANE)
    x = np.arange(SHAPE[0])[:, None, None]
    y, z = np.arange(SHAPE[1])[None, :, None], 2.0 * np.arange(SHAPE[2])
    right = PLANE.distance_mm(np.stack(np.broadcast_arrays(x, y, z), axis=-1)) >= 0
    measured = (label_map.array == 250) & (volume.array > -1500)
    assert counted.histogram[250].sum(axis=1).tolist() == [(measured & right).sum(), (measured & ~right).sum()]
    assert counted.histogram[:250].sum() == 0
