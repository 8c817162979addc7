"""The wheel works where the checkout is not: its configs and bundles travel with it, weights do not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from myotome.io import write_volume
from myotome.phantoms.thorax import Scan, make_thorax

ROOT = Path(__file__).parents[2]


BUNDLE = "respiratory_muscle_ct_segmentation"
WEIGHTS = ROOT / "bundle" / BUNDLE / "models" / "model.pt"


def run(words, folder, **options):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in words], cwd=folder, env=environment, capture_output=True, text=True, **options
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    built = run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], folder)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (path,) = folder.glob("myotome-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment that holds the wheel, and borrows its dependencies (5 GB) from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # Added to sys.path without reading the .pth files there, one of which names this checkout.
    (site / "borrowed.pth").write_text(f"import sys; sys.path += {sorted(borrowed)!r}\n")
    return folder, folder / "venv" / "bin" / "python"


def test_the_wheel_carries_configs_and_no_weights(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "myotome/_configs/structures.yaml" in names
    for metadata in (ROOT / "bundle").glob("*/configs/metadata.json"):
        assert f"myotome/_bundle/{metadata.relative_to(ROOT / 'bundle')}" in names
    assert not [name for name in names if name.endswith((".pt", ".ts", ".onnx"))]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"myotome"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_info_from_another_folder_finds_the_bundles_of_the_wheel(installed):
    folder, python = installed
    told = run([python, "-m", "myotome", "info", "--json"], folder)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert Path(found["package"]).is_relative_to(folder)
    shipped = {path.parents[1].name for path in (ROOT / "bundle").glob("*/configs/metadata.json")}
    assert {bundle["name"] for bundle in found["bundles"]} == shipped
    assert all(bundle["weights"] == [] for bundle in found["bundles"])


def test_the_entry_point_is_the_command_line(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "myotome = myotome.cli:main" in archive.read(name).decode()


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Four slices of a coarse phantom (4 x 4 x 20 mm) as NIfTI."""
    path = tmp_path_factory.mktemp("phantom") / "ct.nii.gz"
    scan = Scan(matrix=104, in_plane_mm=4.0, slice_thickness_mm=20.0, sub_slice_mm=20.0, bottom=0.4, top=0.65)
    write_volume(path, make_thorax(7, scan).volume)
    return path


def test_without_weights_the_sentence_says_where_they_go(installed, phantom):
    folder, python = installed
    done = run([python, "-m", "myotome", "analyze", phantom, "--bundle", BUNDLE, "-o", folder / "out"], folder)
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("\n") == 1 and "models/model.pt" in done.stderr
    assert not (folder / "out").exists()


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the bundle's weights are not here")
def test_a_bundle_given_by_its_path_brings_its_weights(installed, phantom):
    folder, python = installed
    words = ["analyze", phantom, "--bundle", WEIGHTS.parents[1], "-o", folder / "result", "--device", "cpu"]
    done = run([python, "-m", "myotome", *words], folder)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((folder / "result" / "measurements.json").read_text())
    assert document["provenance"]["weights_sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert (folder / "result" / "report.html").is_file()
