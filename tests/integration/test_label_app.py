"""The annotation loop over REST with MONAI Label's own client, on a folder of phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import requests

from myotome.inference import BundleSegmenter
from myotome.io import read_volume, write_label_map
from myotome.io.tables import make_rows
from myotome.pipeline import measure_label_map
from myotome.structures import LabelMap
from tests.integration.label_server import (
    MODEL,
    TOKEN,
    LabelServer,
    read_labels,
    write_renumbered,
    write_small_phantoms,
)

ORDER = ["other_muscle", "intercostal", "pectoralis", "erector_spinae"]


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Folder with eight phantoms, and the truth of each."""
    folder = tmp_path_factory.mktemp("studies")
    return folder, write_small_phantoms(folder, range(8))


@pytest.fixture(scope="module")
def server(studies, tmp_path_factory):
    server = LabelServer(
        ["--studies", str(studies[0]), "--validation-share", "0.5"], tmp_path_factory.mktemp("log") / "log"
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server, tmp_path):
    return server.client("Ada", tmp_path)


def test_info_lists_models_labels_and_strategies(client):
    info = client.info()
    assert info["models"][MODEL]["labels"] == {
        "pectoralis": 1,
        "erector_spinae": 2,
        "intercostal": 3,
        "other_muscle": 4,
    }
    assert next(iter(info["strategies"])) == "foreground_random"
    assert info["datastore"]["total"] == 8


def test_a_draft_is_what_analyze_makes_voxel_for_voxel_and_number_for_number(client, studies):
    folder, _ = studies
    image, params = client.infer(MODEL, "p0", {})
    volume = read_volume(folder / "p0.nii.gz")
    segmenter = BundleSegmenter(MODEL)
    expected = segmenter.segment(volume)
    assert np.array_equal(read_labels(image).array, expected.array)
    result = measure_label_map(volume, expected, segmenter=segmenter, source=folder / "p0.nii.gz")
    assert params["measurements"] == json.loads(json.dumps(make_rows(result, volume)))
    present = {s.name: s.index for s in expected.schema.structures if (expected.array == s.index).any()}
    assert params["label_names"] == present


def test_two_readers_never_get_the_same_image(server, tmp_path):
    readers = [server.client(f"reader {n}", tmp_path) for n in range(4)]
    ids = [reader.next_sample("random", {})["id"] for reader in readers]
    assert len(set(ids)) == 4
    held = {row["image_id"]: row["reader"] for row in server.get("/status.json").json()["reservations"]}
    assert {held[image] for image in ids} == {f"reader {n}" for n in range(4)}
    for reader, image in zip(readers, ids, strict=True):
        address = f"{server.url}/activelearning/reservation"
        reply = requests.delete(address, params={"image": image}, headers=reader._headers, timeout=30)
        assert reply.json() == {"released": True}


def test_segments_are_told_by_their_names_whatever_their_numbers(client, studies, tmp_path):
    truth = studies[1]["p1"]
    names = write_renumbered(tmp_path / "slicer.nii.gz", truth, ORDER)
    reply = client.save_label("p1", str(tmp_path / "slicer.nii.gz"), params={"label_info": names})
    assert reply["authorship"]["author"] == "Ada"
    assert reply["authorship"]["client"] == "slicer"
    saved = read_labels(client.download_label("p1", "final"))
    assert np.array_equal(saved.array, truth.array)


def test_every_version_stays_and_the_newest_wins(server, studies, tmp_path):
    truth = studies[1]["p2"]
    first, second = truth.array.copy(), np.zeros_like(truth.array)
    for reader, array in (("Ada", first), ("Bo", second)):
        path = tmp_path / f"{reader}.nii.gz"
        write_label_map(path, LabelMap(array, truth.grid, truth.schema))
        server.client(reader, tmp_path).save_label("p2", str(path), params={"model": MODEL})
    versions = server.get("/datastore/label/versions", params={"image": "p2"}).json()
    assert [(row["version"], row["authorship"]["author"], row["authorship"]["parent"]) for row in versions] == [
        ("v0001", "Ada", None),
        ("v0002", "Bo", "v0001"),
    ]
    # An empty mask is a label like any other.
    assert sum(versions[1]["voxels"].values()) == 0
    (tmp_path / "old.nii.gz").write_bytes(server.get("/datastore/label?label=p2&version=v0001").content)
    (tmp_path / "new.nii.gz").write_bytes(server.get("/datastore/label?label=p2").content)
    assert np.array_equal(read_labels(tmp_path / "old.nii.gz").array, first)
    assert not read_labels(tmp_path / "new.nii.gz").array.any()
    [pair] = server.get("/datastore/label/agreement", params={"image": "p2"}).json()
    assert pair["readers"] == ["Ada", "Bo"]
    assert pair["structures"]["erector_spinae"]["dice"] == 0
    assert server.get("/status.json").json()["agreements"] == [pair]
    assert "Images that two readers labelled" in server.get("/status").text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("label.nii.gz", b"no image at all", "NIfTI"),
        ("label.py", b"print('hello')", "save it as one of these"),
        ("label.nrrd", b"NRRD0004\nnonsense", "export it again"),
        ("label.dcm", b"\0" * 128 + b"DICM" + b"\0" * 40, "DICOM segmentation"),
    ],
)
def test_what_is_no_label_is_refused_with_a_sentence(server, name, content, words):
    reply = server.put("/datastore/label?image=p3", files={"label": (name, content)})
    assert reply.status_code == 400
    assert words in reply.json()["detail"]
    assert server.get("/datastore/label/versions?image=p3").json() == []


def test_a_label_of_another_grid_is_refused(server, studies, tmp_path):
    truth = studies[1]["p3"]
    moved = truth.grid.affine.copy()
    moved[0, 3] += 5
    for name, array, affine in (
        ("cropped", truth.array[:-1], truth.grid.affine),
        ("moved", truth.array, moved),
    ):
        path = tmp_path / f"{name}.nii.gz"
        write_label_map(path, LabelMap(array, type(truth.grid)(array.shape, affine), truth.schema))
        label, params = {"label": (path.name, path.read_bytes())}, json.dumps({"model": MODEL})
        reply = server.put("/datastore/label?image=p3", files=label, data={"params": params})
        assert reply.status_code == 400
        assert "grid of" in reply.json()["detail"]


def test_bare_numbers_that_several_bundles_know_are_refused(server, studies, tmp_path):
    write_label_map(tmp_path / "p7.nii.gz", studies[1]["p7"])
    label = {"label": ("p7.nii.gz", (tmp_path / "p7.nii.gz").read_bytes())}
    reply = server.put("/datastore/label?image=p7", files=label)
    assert reply.status_code == 400
    sentence = reply.json()["detail"]
    assert "the label's numbers could be" in sentence and "send the bundle's name as 'model'" in sentence
    assert all(name in sentence for name in ("bone_density_ct", "l3_muscle_ct", "respiratory_muscle_ct"))


def test_unknown_segments_images_models_and_tags_are_refused(server, studies, tmp_path):
    path = tmp_path / "label.nii.gz"
    write_label_map(path, studies[1]["p3"])
    label = {"label": (path.name, path.read_bytes())}
    names = json.dumps({"label_info": [{"name": "spleen", "idx": 1}]})
    assert "spleen" in server.put("/datastore/label?image=p3", files=label, data={"params": names}).json()["detail"]
    assert server.put("/datastore/label?image=p3&tag=../x", files=label).status_code == 400
    for image in ("nobody", "../../etc/passwd", "/etc/passwd", "p3/../p3", ""):
        assert server.put("/datastore/label", params={"image": image}, files=label).status_code == 404
        assert server.post(f"/infer/{MODEL}", params={"image": image}).status_code == 404
    assert server.post("/infer/no_such_model?image=p3").status_code == 404
    assert server.post(f"/infer/{MODEL}?image=p3", files={"file": ("x.nii.gz", b"x")}).status_code == 403
    assert server.post(f"/infer/{MODEL}?image=p3", data={"params": "[1]"}).status_code == 400


def test_nothing_is_given_without_the_token(server):
    for path in ("/info/", "/datastore/", "/status", "/status.json", "/ohif/", "/openapi.json", "/proxy/dicom/studies"):
        assert requests.get(f"{server.url}{path}", timeout=30).status_code == 401, path
        wrong = {"Authorization": "Bearer wrong"}
        assert requests.get(f"{server.url}{path}", headers=wrong, timeout=30).status_code == 401, path
    assert requests.get(f"{server.url}/t/wrong/info/", timeout=30).status_code == 401
    assert requests.get(f"{server.url}/t/{TOKEN}/info/", timeout=30).status_code == 200
    host = {"Host": "evil.example", "Authorization": f"Bearer {TOKEN}"}
    assert requests.get(f"{server.url}/info/", headers=host, timeout=30).status_code == 400


def test_a_browser_signs_in_and_no_other_site_can_be_named(server):
    with requests.Session() as browser:
        reply = browser.get(f"{server.url}/status", headers={"Accept": "text/html"}, timeout=30)
        assert "The server's token" in reply.text
        form = {"token": TOKEN, "reader": "Zoë <b>", "next": "//evil.example"}
        reply = browser.post(f"{server.url}/login", data=form, allow_redirects=False, timeout=30)
        assert reply.headers["location"] == "/status"
        assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in reply.headers["set-cookie"].split(";")}
        page = browser.get(f"{server.url}/status", timeout=30)
        assert "Myotome" in page.text and MODEL in page.text
        assert "access-control-allow-origin" not in page.headers


def test_the_whole_loop(server, studies, tmp_path):
    """Next, draft, correct, save, train, publish, and the next draft is the new model's."""
    folder, truth = studies
    client = server.client("Ada", tmp_path)
    while sample := client.next_sample("foreground_random", {}):
        image = sample["id"]
        draft, _ = client.infer(MODEL, image, {})
        assert read_labels(draft).array.shape == truth[image].array.shape
        path = tmp_path / f"{image}.nii.gz"
        write_label_map(path, truth[image])
        client.save_label(image, str(path))
    assert client.info()["datastore"]["completed"] >= 7
    for image in ("p2",):  # the one that was left empty on purpose
        write_label_map(tmp_path / "again.nii.gz", truth[image])
        client.save_label(image, str(tmp_path / "again.nii.gz"))
    before = server.get(f"/champion/{MODEL}").json()
    client.train_start(MODEL, {"iterations": 6})
    task = server.wait_for_training()
    assert task["status"] == "DONE", task["details"]
    after = server.get(f"/champion/{MODEL}").json()
    event = after["events"][-1]
    assert event["event"] in ("published", "not_published")
    assert event["verdict"]["better"] == (event["event"] == "published") == (event["verdict"]["lower"] > 0)
    assert event["training_cases"] + event["validation_cases"] == 8
    if event["verdict"]["better"]:
        assert after["weights_sha256"] != before["weights_sha256"]
        _, params = client.infer(MODEL, "p0", {})
        assert params["provenance"]["weights_sha256"] == after["weights_sha256"]
        assert params["provenance"]["bundle_version"].endswith("+round1")
        back = server.post(f"/champion/{MODEL}/rollback").json()
        assert back["weights_sha256"] == before["weights_sha256"]
        _, params = client.infer(MODEL, "p0", {})
        assert params["provenance"]["weights_sha256"] == before["weights_sha256"]
    assert sorted(path.name for path in Path(folder).iterdir() if not path.name.startswith(".")) == sorted(
        f"{image}.nii.gz" for image in truth
    )
