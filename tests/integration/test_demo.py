"""The demo in small: a phantom as a DICOM series, its truth measured and, where there are weights, an analysis."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from myotome.cli import main
from myotome.io import write_label_map
from myotome.io.dicom_series import write_dicom_series
from myotome.phantoms.thorax import Scan, make_thorax
from myotome.pipeline import OUTPUT_NAMES

ROOT = Path(__file__).parents[2]
BUNDLE = "respiratory_muscle_ct_segmentation"


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """A coarse phantom (4 x 4 x 20 mm) as a DICOM series with its true labels beside it."""
    folder = tmp_path_factory.mktemp("phantom")
    case = make_thorax(7, Scan(matrix=104, in_plane_mm=4.0, slice_thickness_mm=20.0, sub_slice_mm=4.0))
    write_dicom_series(folder / "dicom", case.volume)
    write_label_map(folder / "labels.nii.gz", case.label_map)
    return folder, case


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    assert not stop.value.code, printed.err
    return printed.out


def test_measuring_the_true_labels_gives_the_true_volumes(phantom, capsys):
    folder, case = phantom
    document = json.loads(run(capsys, "measure", folder / "dicom", folder / "labels.nii.gz", "--json"))
    volumes = {
        row["structure"]: row["value"]
        for row in document["measurements"]
        if (row["measure"], row["side"], row["slice_index"]) == ("volume", "both", None)
    }
    # The label map is the majority of each 4 x 4 x 20 mm voxel; the truth is super-sampled.
    assert volumes["erector_spinae"] == pytest.approx(case.truth["erector_spinae_volume_ml"], rel=0.1)
    assert volumes["other_muscle"] == pytest.approx(case.truth["other_muscle_volume_ml"], rel=0.25)


def test_the_table_names_each_muscle_and_the_pictures(phantom, capsys, tmp_path):
    folder, _ = phantom
    out = run(capsys, "measure", folder / "dicom", folder / "labels.nii.gz", "-o", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUT_NAMES)
    for word in ("Pectoralis", "Erector spinae", "Intercostal", "right", "left", "overview.png", "report.html"):
        assert word in out
    cells = [line.split("│")[3:-1] for line in out.splitlines() if line.count("│") == 9]
    assert len(cells) == 12 and all(float(cell) is not None for row in cells for cell in row)


def test_the_demo_analyses_what_it_makes():
    shown = subprocess.run(["make", "--dry-run", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    made, analysed = [line.split() for line in shown.splitlines() if "/myotome " in line]
    folder = Path(made[made.index("-o") + 1])
    seed = int(made[made.index("--seed") + 1])
    assert Path(analysed[analysed.index("analyze") + 1]) == folder / f"case_{seed:06d}" / "dicom"
    assert analysed[analysed.index("--bundle") + 1] == BUNDLE


@pytest.mark.skipif(
    not (ROOT / "bundle" / BUNDLE / "models" / "model.pt").is_file(), reason="the bundle's weights are not here"
)
def test_analysing_a_dicom_series_leaves_the_seven_outputs(phantom, capsys, tmp_path):
    folder, _ = phantom
    words = ("analyze", folder / "dicom", "--bundle", BUNDLE, "-o", tmp_path / "out", "--device", "cpu", "--json")
    document = json.loads(run(capsys, *words))
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUT_NAMES)
    assert document == json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert document["provenance"]["bundle"] == BUNDLE
