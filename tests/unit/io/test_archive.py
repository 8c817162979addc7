import stat
import zipfile

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.io import read_volume, write_volume
from myotome.io.archive import unpacked


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_an_archive_is_unpacked_and_removed(tmp_path):
    with unpacked(make_zip(tmp_path / "a.zip", {"deep/er/x": b"1", "y": b"2"})) as folder:
        assert (folder / "deep" / "er" / "x").read_bytes() == b"1"
        assert (folder / "y").read_bytes() == b"2"
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/tmp/outside", "..\\outside"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, name):
    archive = make_zip(tmp_path / "a.zip", {name: b"x"})
    with pytest.raises(InputError, match="path that leaves it"), unpacked(archive):
        pass


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="holds a link"), unpacked(tmp_path / "a.zip"):
        pass


def test_a_bomb_is_refused_while_it_unpacks(tmp_path):
    bomb = make_zip(tmp_path / "a.zip", {"zeros": bytes(30_000_000)})
    assert bomb.stat().st_size < 100_000
    with pytest.raises(InputError, match="unpacks to more than"), unpacked(bomb, limit_bytes=10_000_000):
        pass


def test_a_damaged_archive_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"x": bytes(range(256)) * 100})
    content = bytearray(archive.read_bytes())
    content[60] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(InputError, match="not a zip archive that can be read"), unpacked(archive):
        pass
    archive.write_bytes(content[:100])
    with pytest.raises(InputError, match="not a zip archive that can be read"):
        read_volume(archive)


def test_a_zipped_series_is_the_series(tmp_path, ct_series):
    members = {f"study/1/{path.stem}": path.read_bytes() for path in ct_series.iterdir()}
    zipped = read_volume(make_zip(tmp_path / "study.zip", {"readme.txt": b"hello", **members}))
    volume = read_volume(ct_series)
    assert np.array_equal(zipped.array, volume.array)
    assert zipped.grid.same_as(volume.grid)
    assert len(zipped.acquisition.headers) == 12


def test_a_zipped_nifti_is_the_image(tmp_path, small_ct):
    write_volume(tmp_path / "image.nii", small_ct)
    archive = make_zip(tmp_path / "a.zip", {"image.nii": (tmp_path / "image.nii").read_bytes()})
    assert np.array_equal(read_volume(archive).array, small_ct.array)


def test_an_archive_without_images_names_itself_in_the_refusal(tmp_path):
    with pytest.raises(InputError, match=r"no DICOM file in 'a\.zip'"):
        read_volume(make_zip(tmp_path / "a.zip", {"readme.txt": b"hello"}))
