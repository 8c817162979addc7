"""A reader at OHIF, in a real browser, with a real PACS behind our server: run, change, save, reload, see it again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from myotome.io import read_volume
from myotome.io.dicom_segmentation import read_segmentation
from myotome.io.dicom_series import write_dicom_series
from myotome.phantoms.thorax import Scan, make_thorax
from myotome.structures import read_label_schema
from tests.integration.label_server import MODEL, TOKEN, LabelServer, read_labels, read_segmentations
from tests.integration.ohif_reader import OhifReader, find_chromium

sys.path.insert(0, str(Path(__file__).parents[2] / "monailabel_app"))
from lib.orthanc import Orthanc

pytestmark = [
    pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed (.ci/run installs it)"),
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed (.ci/run installs it)"),
]
SCAN = Scan(matrix=192, in_plane_mm=2.2, slice_thickness_mm=12.0, sub_slice_mm=12.0, bottom=0.3, top=0.8)
PAINTED = "Erector spinae"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("person") / "dicom"
    write_dicom_series(folder, make_thorax(7, SCAN).volume)
    return folder


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, study):
    orthanc = Orthanc(tmp_path_factory.mktemp("orthanc"))
    orthanc.start()
    orthanc.upload(study.glob("*.dcm"))
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def server(orthanc, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    environment = dict(zip(("MYOTOME_DICOMWEB_USER", "MYOTOME_DICOMWEB_PASSWORD"), orthanc.credentials, strict=True))
    options = ["--dicomweb", orthanc.dicomweb, "--state", str(folder / "state")]
    server = LabelServer(options, folder / "log", environment)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def reader(server):
    with OhifReader(server.url, TOKEN, reader="Ada") as reader:
        yield reader


def test_a_reader_runs_the_model_changes_the_draft_saves_it_and_sees_it_again(server, orthanc, reader, study, tmp_path):
    volume = read_volume(study)
    image_id = volume.acquisition.series_uid
    assert len(reader.open_study_list()) == 1
    reader.screenshot(tmp_path / "list.png")
    reader.open_study(volume.acquisition.study_uid)
    reply = reader.run_model(MODEL)
    assert reply.ok
    reader.wait_for_overlay()
    assert "Pectoralis" in reader.measurements() and "Volume (mL)" in reader.measurements()
    reader.screenshot(tmp_path / "overlay.png")
    reader.close_measurements()
    drafted = reader.voxel_counts()
    draft = server.post(f"/infer/{MODEL}", params={"image": image_id, "output": "image"}).content
    (tmp_path / "draft.nii.gz").write_bytes(draft)
    labels = read_labels(tmp_path / "draft.nii.gz")
    for structure in labels.schema.structures:
        assert drafted.get(structure.title, drafted.get(structure.name)) == (labels.array == structure.index).sum()

    painted = reader.paint(PAINTED if PAINTED in drafted else "erector_spinae")
    assert painted != drafted
    assert reader.save("corrected").ok
    reader.screenshot(tmp_path / "saved.png")

    [saved] = read_segmentations(orthanc)
    names = {item.SegmentLabel for item in saved.SegmentSequence}
    assert names <= {structure.title for structure in labels.schema.structures} and PAINTED in names
    assert saved.ContentCreatorName == "Ada"
    path = tmp_path / "saved.dcm"
    saved.save_as(path)
    if shutil.which("dciodvfy"):
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
        assert not [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")]
    kept = read_segmentation(path, read_label_schema(), volume.grid).array
    [version] = server.get("/datastore/label/versions", params={"image": image_id}).json()
    assert (version["authorship"]["author"], version["authorship"]["client"]) == ("Ada", "ohif")
    (tmp_path / "kept.nii.gz").write_bytes(server.get("/datastore/label", params={"label": image_id}).content)
    assert np.array_equal(read_labels(tmp_path / "kept.nii.gz").array, kept)
    # What is kept is the draft but for the stroke, voxel by voxel and not mirrored.
    changed = kept != labels.array
    assert 0 < changed.sum() < 2000
    assert set(np.unique(kept[changed])) == {labels.schema["erector_spinae"].index}

    reader.open_study(volume.acquisition.study_uid)
    reader.load_segmentation()
    reader.wait_for_overlay()
    reader.screenshot(tmp_path / "again.png")
    again = reader.voxel_counts()
    for structure in labels.schema.structures:
        assert again.get(structure.title, 0) == (kept == structure.index).sum()
    assert reader.outside_requests == []
    assert reader.errors == []
