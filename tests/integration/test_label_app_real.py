"""The whole loop on real CTs, from a folder and from a PACS: a few slices of four people."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from myotome.geometry import Acquisition, Grid, Volume
from myotome.io import read_volume, write_label_map, write_volume
from myotome.io.dicom_series import write_dicom_series
from myotome.structures import LabelMap
from tests.integration.label_server import MODEL, LabelServer, read_labels

sys.path.insert(0, str(Path(__file__).parents[2] / "monailabel_app"))
from lib.orthanc import Orthanc

SLICES = 4


def few_slices(volume: Volume, first: int, name: str) -> Volume:
    """Some axial slices of a volume, by another subject's name."""
    affine = volume.grid.affine.copy()
    affine[:3, 3] += first * affine[:3, 2]
    array = np.ascontiguousarray(volume.array[:, :, first : first + SLICES])
    return Volume(array, Grid(array.shape, affine), "CT", Acquisition(subject_id=name))


@pytest.fixture(scope="module")
def scans(shared_data) -> dict[str, Volume]:
    """Slices of four people."""
    sources = {
        "chest": (shared_data / "chest_ct_dicom", 12),
        "abdomen": (shared_data / "abdomen_ct_dicom", 4),
        "lidc": (shared_data / "chest_ct_lidc" / "ct.nii.gz", 40),
        "coarse": (shared_data / "abdomen_ct_3mm" / "ct.nii.gz", 100),
    }
    return {name: few_slices(read_volume(path), first, name) for name, (path, first) in sources.items()}


@pytest.fixture(params=["folder", "orthanc"])
def server(request, scans, tmp_path):
    options, environment, cleanup = ["--validation-share", "0.7"], {}, []
    if request.param == "folder":
        (tmp_path / "studies").mkdir()
        for name, volume in scans.items():
            write_volume(tmp_path / "studies" / f"{name}.nii.gz", volume)
        options += ["--studies", str(tmp_path / "studies")]
    else:
        if shutil.which("Orthanc") is None:
            pytest.skip("Orthanc is not installed (.ci/run installs it)")
        orthanc = Orthanc(tmp_path / "orthanc")
        orthanc.start()
        cleanup.append(orthanc.stop)
        for name, volume in scans.items():
            write_dicom_series(tmp_path / name, volume)
            orthanc.upload((tmp_path / name).glob("*.dcm"))
        options += ["--dicomweb", orthanc.dicomweb, "--state", str(tmp_path / "state")]
        environment = dict(
            zip(("MYOTOME_DICOMWEB_USER", "MYOTOME_DICOMWEB_PASSWORD"), orthanc.credentials, strict=True)
        )
    server = LabelServer(options, tmp_path / "log", environment)
    server.start()
    yield server
    server.stop()
    for stop in cleanup:
        stop()


@pytest.mark.slow
def test_next_draft_correct_save_train_and_draft_again(server, tmp_path):
    client = server.client("Ada", tmp_path)
    saved = {}
    while sample := client.next_sample("random", {}):
        image = sample["id"]
        draft, params = client.infer(MODEL, image, {})
        assert params["measurements"]
        labels = read_labels(draft)
        corrected = labels.array.copy()
        corrected[corrected == 3] = 4  # the reader thinks that there is no intercostal muscle
        path = tmp_path / "corrected.nii.gz"
        write_label_map(path, LabelMap(corrected, labels.grid, labels.schema))
        assert client.save_label(image, str(path))["voxels"]["intercostal"] == 0
        saved[image] = corrected
    assert len(saved) == 4
    client.train_start(MODEL, {"iterations": 2})
    task = server.wait_for_training()
    assert task["status"] == "DONE", task["details"]
    champion = server.get(f"/champion/{MODEL}").json()
    [event] = champion["events"]
    assert (event["training_cases"], event["validation_cases"]) == (1, 3)
    assert champion["round"] == (1 if event["verdict"]["better"] else 0)
    image, array = next(iter(saved.items()))
    _, params = client.infer(MODEL, image, {})
    assert params["provenance"]["weights_sha256"] == champion["weights_sha256"]
    assert np.array_equal(read_labels(client.download_label(image, "final")).array, array)
