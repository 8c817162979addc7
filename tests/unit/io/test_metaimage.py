"""MetaImages are read as SimpleITK reads them, and refused with a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.errors import GeometryError, InputError
from myotome.io.metaimage import read_metaimage

SimpleITK = pytest.importorskip("SimpleITK")


def write(path, array, compressed=False, origin=(10.0, -20.0, 30.0)):
    """A file of an oblique sagittal series as SimpleITK writes it; array (X, Y, Z)."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing((3.3, 0.6, 0.7))
    image.SetOrigin(origin)
    angle = np.deg2rad(12)
    turn = np.array([(np.cos(angle), -np.sin(angle), 0), (np.sin(angle), np.cos(angle), 0), (0, 0, 1)])
    image.SetDirection(turn.ravel().tolist())
    SimpleITK.WriteImage(image, str(path), compressed)
    return image


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32])
def test_voxels_and_places_are_those_of_simpleitk(tmp_path, compressed, kind):
    array = np.arange(4 * 6 * 5).reshape(4, 6, 5).astype(kind)
    image = write(tmp_path / "1_t2.mha", array, compressed)
    read, grid = read_metaimage(tmp_path / "1_t2.mha")
    assert np.array_equal(read, array) and read.dtype == kind
    assert grid.spacing_mm == pytest.approx((3.3, 0.6, 0.7))
    for index in ((0, 0, 0), (3, 1, 4)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        assert (grid.affine @ (*index, 1))[:3] == pytest.approx((-x, -y, z))


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    for compressed in (False, True):
        path = tmp_path / f"{compressed}.mha"
        write(path, np.ones((4, 6, 5), np.int16), compressed)
        path.write_bytes(path.read_bytes()[:-6])
        with pytest.raises(InputError, match="cut short"):
            read_metaimage(path)


def test_what_is_no_metaimage_is_refused(tmp_path):
    (tmp_path / "a.mha").write_bytes(b"\x00" * 300)
    (tmp_path / "b.mha").write_text("NDims = 3\nDimSize = 2 2 2\nElementDataFile = b.raw\n")
    with pytest.raises(InputError, match="not a MetaImage"):
        read_metaimage(tmp_path / "a.mha")
    with pytest.raises(InputError, match="in another file"):
        read_metaimage(tmp_path / "b.mha")
    with pytest.raises(InputError, match="cannot be read"):
        read_metaimage(tmp_path / "c.mha")


def test_a_flat_image_is_refused(tmp_path):
    image = SimpleITK.GetImageFromArray(np.ones((6, 5), np.int16))
    SimpleITK.WriteImage(image, str(tmp_path / "flat.mha"))
    with pytest.raises(GeometryError, match="three-dimensional"):
        read_metaimage(tmp_path / "flat.mha")
