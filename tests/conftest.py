"""What tests share: the real data beside the checkout, and a tiny CT whose every voxel is known."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest

from myotome.geometry import Acquisition, Grid, Volume

# Where Pango is not installed, studies leave their PDF out.
PDF = frozenset({"report.pdf"} if find_library("pangoft2-1.0") else ())
SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item):
    """Where tests run beside each other, one that is marked ``alone`` waits for the others, and they for it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    with _turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def _turn(alone: bool) -> Iterator[None]:
    """Locks of all workers: who waits at the door for an empty room lets nobody else in."""
    with Path(__file__).open() as door, Path(__file__).with_name("__init__.py").open() as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data is not beside the checkout: no {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """Untrained weights of the respiratory cascade, always the same."""
    import torch

    from myotome.networks import RespiratoryCascade, write_weights

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    write_weights(RespiratoryCascade().state_dict(), path)
    return path


@pytest.fixture
def small_ct() -> Volume:
    """A CT of 12 slices: a soft-tissue ellipse in air, with a number in every voxel that tells where it is."""
    x, y, z = np.meshgrid(np.arange(20), np.arange(16), np.arange(12), indexing="ij")
    body = ((x - 9.5) / 8) ** 2 + ((y - 7.5) / 6) ** 2 < 1
    array = np.where(body, 40 + x + 2 * y - 5 * z, -1000 - z % 3).astype(np.int16)
    affine = np.array([[0.8, 0, 0, -7.25], [0, 0.7, 0, -31.5], [0, 0, 2.5, 100.5], [0, 0, 0, 1]])
    acquisition = Acquisition(
        subject_id="PHANTOM-000007",
        series_description="phantom thorax",
        tube_voltage_kv=120.0,
        kernel="STANDARD",
        slice_thickness_mm=2.5,
        manufacturer="Myotome phantom",
        height_m=1.72,
        reconstruction_diameter_mm=16.0,
    )
    return Volume(array, Grid(array.shape, affine), "CT", acquisition)


@pytest.fixture
def ct_series(tmp_path: Path, small_ct: Volume) -> Path:
    """The tiny CT as a DICOM series."""
    from myotome.io.dicom_series import write_dicom_series

    folder = tmp_path / "series"
    write_dicom_series(folder, small_ct)
    return folder


@pytest.fixture
def change_slices() -> Callable:
    """Apply ``change(dataset, index)`` to every slice file of a folder; a slice is removed when it returns False."""
    import pydicom

    def apply(folder: Path, change: Callable) -> None:
        for index, path in enumerate(sorted(folder.glob("*.dcm"))):
            dataset = pydicom.dcmread(path)
            if change(dataset, index) is False:
                path.unlink()
            else:
                dataset.save_as(path)

    return apply


@pytest.fixture(scope="session")
def dicom_errors() -> Callable:
    """Errors and (all else) warnings that dciodvfy, the DICOM validator, finds in a file."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")

    def validate(path: Path) -> tuple[list[str], list[str]]:
        done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace")
        lines = (done.stdout + done.stderr).splitlines()
        return [x for x in lines if x.startswith("Error")], [x for x in lines if x.strip().startswith("Warning")]

    return validate
