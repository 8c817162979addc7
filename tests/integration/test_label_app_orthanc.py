"""The annotation loop against a real PACS: Orthanc, over DICOMweb."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests

from myotome.io import read_volume, write_label_map
from myotome.io.dicom_segmentation import read_segmentation, write_segmentation
from myotome.io.dicom_series import write_dicom_series
from myotome.measurement import Provenance
from myotome.phantoms.thorax import make_thorax
from myotome.structures import LabelMap, read_label_schema
from tests.integration.label_server import (
    MODEL,
    SMALL,
    TOKEN,
    LabelServer,
    read_labels,
    read_segmentations,
    write_renumbered,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "monailabel_app"))
from lib.orthanc import Orthanc

pytestmark = pytest.mark.skipif(
    shutil.which("Orthanc") is None, reason="Orthanc is not installed (.ci/run installs it)"
)
SCHEMA = read_label_schema()


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """DICOM folder and truth of four phantoms, by SeriesInstanceUID."""
    folder = tmp_path_factory.mktemp("people")
    found = {}
    for seed in range(4):
        case = make_thorax(seed, SMALL)
        write_dicom_series(folder / str(seed), case.volume)
        volume = read_volume(folder / str(seed))
        found[volume.acquisition.series_uid] = folder / str(seed), case.label_map
    return found


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, people):
    orthanc = Orthanc(tmp_path_factory.mktemp("orthanc"))
    orthanc.start()
    for folder, _ in people.values():
        orthanc.upload(folder.glob("*.dcm"))
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def server(orthanc, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    user, password = orthanc.credentials
    environment = {"MYOTOME_DICOMWEB_USER": user, "MYOTOME_DICOMWEB_PASSWORD": password}
    options = ["--dicomweb", orthanc.dicomweb, "--state", str(folder / "state"), "--validation-share", "0.5"]
    server = LabelServer(options, folder / "log", environment)
    server.start()
    yield server
    server.stop()


def on_axes(array: np.ndarray, truth: LabelMap, grid) -> np.ndarray:
    """The truth's array in the axis order of the DICOM volume."""
    from myotome.geometry import reorient

    return reorient(truth.array, truth.grid.affine, "".join(grid.axis_codes))[0]


def test_the_series_are_the_images(server, people):
    table = server.get("/datastore/?output=all").json()["objects"]
    assert set(table) == set(people)


def test_a_saved_label_is_a_valid_segmentation_in_the_pacs_with_the_right_names(server, orthanc, people, tmp_path):
    uid, (folder, truth) = next(iter(people.items()))
    volume = read_volume(folder)
    labels = LabelMap(np.ascontiguousarray(on_axes(truth.array, truth, volume.grid)), volume.grid, SCHEMA)
    # Without pectoralis: numbers and segments must not shift.
    kept = np.where(labels.array == 1, 0, labels.array).astype(np.uint8)
    names = write_renumbered(
        tmp_path / "l.nii.gz",
        LabelMap(kept, volume.grid, SCHEMA),
        ["intercostal", "erector_spinae", "other_muscle", "pectoralis"],
    )
    reply = server.put(
        "/datastore/label",
        params={"image": uid},
        files={"label": ("l.nii.gz", (tmp_path / "l.nii.gz").read_bytes())},
        data={"params": json.dumps({"label_info": names, "client_id": "Ada"})},
    )
    assert reply.status_code == 200, reply.text
    [dataset] = read_segmentations(orthanc)
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["Erector spinae", "Intercostal", "Other muscle"]
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == uid
    assert dataset.ContentCreatorName == "Ada"
    path = tmp_path / "seg.dcm"
    dataset.save_as(path)
    assert np.array_equal(read_segmentation(path, SCHEMA, volume.grid).array, kept)
    if shutil.which("dciodvfy"):
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
        assert not [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")]


def test_a_viewer_reads_the_pacs_and_stores_segmentations_only(server, orthanc, people, tmp_path):
    uid, (folder, truth) = list(people.items())[1]
    volume = read_volume(folder)
    found = server.get("/proxy/dicom/series", params={"SeriesInstanceUID": uid}).json()
    assert [row["0020000E"]["Value"] for row in found] == [[uid]]  # the query string reaches the PACS
    labels = LabelMap(np.ascontiguousarray(on_axes(truth.array, truth, volume.grid)), volume.grid, SCHEMA)
    path = tmp_path / "viewer.dcm"
    write_segmentation(path, labels, volume, Provenance("none", "none", "none", {}, "none", {}, run_id="viewer"))
    before = len(read_segmentations(orthanc))
    reply = server.post("/proxy/dicom/studies", **_as_stow(path.read_bytes()))
    assert reply.status_code == 200, reply.text
    assert len(read_segmentations(orthanc)) == before + 1
    [version] = server.get("/datastore/label/versions", params={"image": uid}).json()
    assert version["authorship"]["client"] == "ohif"
    (tmp_path / "saved.nii.gz").write_bytes(server.get("/datastore/label", params={"label": uid}).content)
    assert np.array_equal(read_labels(tmp_path / "saved.nii.gz").array, labels.array)
    image = next(folder.glob("*.dcm")).read_bytes()
    assert server.post("/proxy/dicom/studies", **_as_stow(image)).status_code == 403
    assert server.post("/proxy/dicom/studies", **_as_stow(b"nonsense")).status_code == 400
    assert server.post("/proxy/dicom/studies", data=b"x", headers=None).status_code == 400


def _as_stow(content: bytes) -> dict:
    body = b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--edge--\r\n"
    return {"data": body, "headers": {"Content-Type": 'multipart/related; type="application/dicom"; boundary=edge'}}


@pytest.mark.parametrize(
    "path", ["..%2f..%2fsystem", "../system", "studies/../../instances", "studies/1/archive", "%2e%2e/tools/reset", "x"]
)
def test_nothing_but_dicomweb_of_the_pacs_can_be_reached(server, path):
    request = requests.Request("GET", f"{server.url}/", headers={"Authorization": f"Bearer {TOKEN}"}).prepare()
    request.url = f"{server.url}/proxy/dicom/{path}"
    with requests.Session() as session:
        assert session.send(request, timeout=30).status_code in (403, 404)


def test_a_segmentation_of_somebody_else_becomes_a_version(server, orthanc, people, tmp_path):
    uid, (folder, truth) = list(people.items())[2]
    volume = read_volume(folder)
    labels = LabelMap(np.ascontiguousarray(on_axes(truth.array, truth, volume.grid)), volume.grid, SCHEMA)
    path = tmp_path / "other.dcm"
    write_segmentation(path, labels, volume, Provenance("none", "none", "none", {}, "none", {}, run_id="somebody"))
    orthanc.upload([path])

    end = time.monotonic() + 90
    while time.monotonic() < end:
        versions = server.get("/datastore/label/versions", params={"image": uid}).json()
        if versions:
            break
        time.sleep(1)
    assert [row["authorship"]["author"] for row in versions] == ["PACS"]
    (tmp_path / "read.nii.gz").write_bytes(server.get("/datastore/label", params={"label": uid}).content)
    assert np.array_equal(read_labels(tmp_path / "read.nii.gz").array, labels.array)


def test_the_loop_against_the_pacs(server, orthanc, people, tmp_path):
    """Next, draft, correct, save; the labels left over are in the PACS too."""
    client = server.client("Bo", tmp_path)
    while sample := client.next_sample("random", {}):
        uid = sample["id"]
        folder, truth = people[uid]
        volume = read_volume(folder)
        draft, params = client.infer(MODEL, uid, {})
        assert read_labels(draft).grid.same_as(volume.grid)
        assert params["measurements"][0]["series_uid"] == uid
        path = tmp_path / "label.nii.gz"
        write_label_map(path, truth)
        client.save_label(uid, str(path))
    assert client.info()["datastore"]["completed"] == len(people)
    stored = read_segmentations(orthanc)
    assert {dataset.ReferencedSeriesSequence[0].SeriesInstanceUID for dataset in stored} == set(people)


def test_a_draft_comes_as_a_segmentation_too(server, people, tmp_path):
    uid, (folder, _) = list(people.items())[1]
    reply = server.post(f"/infer/{MODEL}", params={"image": uid, "output": "dicom_seg"})
    assert reply.status_code in (200, 404)
    if reply.status_code == 200:
        path = tmp_path / "draft.dcm"
        path.write_bytes(reply.content)
        (tmp_path / "draft.nii.gz").write_bytes(
            server.post(f"/infer/{MODEL}", params={"image": uid, "output": "image"}).content
        )
        volume = read_volume(folder)
        assert np.array_equal(
            read_segmentation(path, SCHEMA, volume.grid).array, read_labels(tmp_path / "draft.nii.gz").array
        )


def test_a_label_saved_while_the_pacs_is_down_is_kept_and_stored_when_it_is_back(server, orthanc, people, tmp_path):
    uid, (_, truth) = next(iter(people.items()))
    write_label_map(tmp_path / "label.nii.gz", truth)
    before = len(read_segmentations(orthanc))
    orthanc.stop()
    reply = server.put(
        "/datastore/label",
        params={"image": uid},
        files={"label": ("label.nii.gz", (tmp_path / "label.nii.gz").read_bytes())},
    )
    assert reply.status_code == 200
    assert server.get("/info/").status_code == 200
    assert server.get("/proxy/dicom/studies").status_code == 502
    orthanc.start()
    end = time.monotonic() + 90
    while len(read_segmentations(orthanc)) == before and time.monotonic() < end:
        time.sleep(1)
    assert len(read_segmentations(orthanc)) == before + 1
