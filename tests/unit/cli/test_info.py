"""``myotome info`` tells the truth about the installation, and imports nothing heavy to do so."""

import hashlib
import json
import subprocess
import sys

from myotome import __version__, resources
from myotome.cli import info as info_module

HEAVY = ("torch", "monai", "numpy", "scipy", "nibabel", "pydicom", "highdicom", "matplotlib")


RELEASED = hashlib.sha256(b"weights").hexdigest()


def make_bundle(root, weights):
    released = {"models/model.pt": RELEASED}
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    (root / "configs" / "metadata.json").write_text(json.dumps({"version": "0.3.1", "weights_sha256": released}))
    if weights is not None:
        (root / "models" / "model.pt").write_bytes(weights)


def test_info_and_help_import_nothing_heavy():
    program = (
        "import sys; from myotome.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    for words in (["info", "--json"], ["--help"], ["analyze", "--help"], ["--version"]):
        done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "HEAVY []", words


def test_info_describes_bundles_with_and_without_weights(tmp_path, monkeypatch):
    make_bundle(tmp_path / "bundle" / "knee_mri", b"weights")
    make_bundle(tmp_path / "bundle" / "shoulder_mri", b"others")
    make_bundle(tmp_path / "bundle" / "thorax_ct", None)
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "myotome")

    found = info_module.describe_installation()

    knee, shoulder, thorax = found["bundles"]
    assert found["version"] == __version__
    assert (knee["name"], knee["version"]) == ("knee_mri", "0.3.1")
    assert knee["weights"] == [
        {"file": "model.pt", "bytes": 7, "sha256": RELEASED, "as_released": True},
    ]
    assert [file["as_released"] for file in shoulder["weights"]] == [False]
    assert thorax["weights"] == []


def test_in_a_wheel_the_bundles_lie_inside_the_package(tmp_path, monkeypatch):
    make_bundle(tmp_path / "_bundle" / "thorax_ct", None)
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path)
    assert [bundle["name"] for bundle in info_module.describe_installation()["bundles"]] == ["thorax_ct"]


def test_the_json_is_json_and_the_table_names_the_version(capsys):
    info_module.info(as_json=True)
    assert json.loads(capsys.readouterr().out)["version"] == __version__
    info_module.info(as_json=False)
    assert f"myotome {__version__}" in capsys.readouterr().out
