import os
import resource
import stat
import subprocess
import sys

import pytest

from myotome.errors import OutputError
from myotome.io.atomic import atomic_folder, atomic_path


def test_a_file_appears_under_its_name_only_when_it_is_complete(tmp_path):
    target = tmp_path / "new" / "labels.nii.gz"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"complete")
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".nii.gz")
        assert not target.exists()
    assert target.read_bytes() == b"complete"
    assert os.listdir(target.parent) == ["labels.nii.gz"]


def test_a_file_has_the_rights_of_an_ordinary_file(tmp_path):
    with atomic_path(tmp_path / "a.csv") as temporary:
        temporary.write_text("x")
    (tmp_path / "b.csv").write_text("x")
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == stat.S_IMODE((tmp_path / "b.csv").stat().st_mode)


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(failure), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise failure
    assert os.listdir(tmp_path) == ["a.csv"]
    assert target.read_text() == "old"


def test_a_file_where_a_folder_should_be_is_an_output_error(tmp_path):
    (tmp_path / "out").write_text("a file")
    with (
        pytest.raises(OutputError, match=r"cannot write 'a\.csv'.*out.*choose"),
        atomic_path(tmp_path / "out" / "a.csv"),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_an_output_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="permission denied"), atomic_path(tmp_path / "a.csv"):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_an_unwritable_device_is_an_output_error():
    with pytest.raises(OutputError, match=r"cannot write 'a\.csv' in '/proc'"), atomic_path("/proc/a.csv"):
        pass


WRITE_LABELS = """
import resource, sys
import numpy as np
from myotome.errors import OutputError
from myotome.geometry import Grid
from myotome.io import write_label_map
from myotome.structures import LabelMap, read_label_schema

labels = np.random.default_rng(0).integers(0, 5, (64, 64, 64)).astype(np.uint8)
label_map = LabelMap(labels, Grid(labels.shape, np.eye(4)), read_label_schema())
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_label_map(sys.argv[1], label_map)
except OutputError as error:
    print(error)
    sys.exit(OutputError.exit_code)
"""


@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.nii"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, name):
    """The kernel refuses to let the file grow, as a full disk does, in the middle of writing."""
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run([sys.executable, "-c", WRITE_LABELS, tmp_path / name], capture_output=True, text=True)
    assert done.returncode == OutputError.exit_code, done.stderr
    assert f"cannot write '{name}'" in done.stdout
    assert "free some space" in done.stdout
    assert os.listdir(tmp_path) == []


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    target = tmp_path / "series"
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as temporary:
        (temporary / "0001.dcm").write_text("x")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []
    with atomic_folder(target) as temporary:
        (temporary / "0001.dcm").write_text("x")
    assert os.listdir(tmp_path) == ["series"]
    assert os.listdir(target) == ["0001.dcm"]


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="already exists"), atomic_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == ["mine.txt"]
