"""Parts of the label app by themselves: rounds, datastores, strategies, the inference process, the token."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from myotome.active_learning.annotations import Authorship
from myotome.active_learning.reservations import Reservations
from myotome.errors import InputError, MyotomeError
from myotome.geometry import Acquisition, Grid, Volume
from myotome.inference.segmenter import BundleSegmenter
from myotome.io import read_volume, write_label_map
from myotome.io.dicom_series import write_dicom_series
from myotome.resources import bundle_root
from myotome.structures import LabelMap, read_label_schema
from tests.integration.bundles import copy_bundle
from tests.integration.label_server import MODEL, LabelServer, write_small_phantoms

sys.path.insert(0, str(Path(__file__).parents[2] / "monailabel_app"))
from lib.standins import install_standins

install_standins()

from lib import trainers
from lib.datastores import FolderDatastore, UnknownImage
from lib.models import Model
from lib.security import Access, Guard, clean_reader
from lib.state import State, default_state
from lib.strategies import BackgroundScoring, NextImage, read_scores
from lib.trainers import LabelSetRefused, RoundRequest, run_round
from lib.worker import InferenceWorker

SCHEMA = read_label_schema()


@pytest.fixture
def place(tmp_path):
    """Six phantoms in a folder, their truth, and a datastore over them."""
    truth = write_small_phantoms(tmp_path / "studies", range(6))
    return truth, FolderDatastore(tmp_path / "studies", State(tmp_path / "state"), {MODEL: SCHEMA})


@pytest.fixture
def untrained(tmp_path, weights):
    """The bundle with weights that know nothing."""
    return copy_bundle(MODEL, tmp_path / "shipped", weights)


def label_all(datastore, truth, keep=lambda array: array):
    for image, labels in truth.items():
        kept = LabelMap(keep(labels.array), labels.grid, SCHEMA)
        datastore.annotations.save(image, kept, datastore.volume(image).grid, Authorship(author="Ada"))


def silent(words, share):
    pass


# rounds


def test_a_better_challenger_is_published_and_a_worse_one_is_not(place, untrained, tmp_path, monkeypatch):
    truth, datastore = place
    label_all(datastore, truth)
    model = Model(untrained, datastore.state, validation_share=0.5)
    good = bundle_root(MODEL) / "models" / "model.pt"

    def give(path):
        def train(model, champion, wanted, workspace, datalist, report):
            assert len(json.loads(datalist.read_text())["training"]) == 3
            return Path(shutil.copyfile(path, workspace / "challenger.pt"))

        return train

    monkeypatch.setattr(trainers, "_train", give(good))
    result = run_round(model, datastore, RoundRequest(), silent)
    assert result["published_round"] == 1
    assert result["verdict"]["lower"] > 0
    assert result["challenger"]["mean_dice"] > result["champion"]["mean_dice"]
    assert (model.champion.root / "models" / "model.pt").read_bytes() == good.read_bytes()

    monkeypatch.setattr(trainers, "_train", give(untrained / "models" / "model.pt"))
    result = run_round(model, datastore, RoundRequest(), silent)
    assert result["published_round"] is None
    assert model.champion.number == 1
    assert [event["event"] for event in model.history.events()] == ["published", "not_published"]


def test_label_sets_that_cannot_be_trained_on_are_refused_with_the_reason(place, untrained):
    truth, datastore = place
    model = Model(untrained, datastore.state, validation_share=0.5)
    with pytest.raises(LabelSetRefused, match="0 labelled images are for training"):
        run_round(model, datastore, RoundRequest(), silent)
    label_all(datastore, dict(list(truth.items())[:2]))
    with pytest.raises(LabelSetRefused, match="1 patients for validation"):
        run_round(model, datastore, RoundRequest(), silent)
    label_all(datastore, truth, keep=np.zeros_like)
    with pytest.raises(LabelSetRefused, match="every training label is empty"):
        run_round(model, datastore, RoundRequest(), silent)
    assert model.champion.number == 0


def test_starting_anew_does_not_read_the_champion(untrained, tmp_path, monkeypatch):
    model = Model(untrained, State(tmp_path / "state"))
    seen = {}

    def train(warm, training, report):
        seen["exists"] = training.weights.is_file()
        return training.weights

    monkeypatch.setattr(trainers.WarmTrainer, "__call__", train)
    for pretrained in (True, False):
        workspace = tmp_path / str(pretrained)
        workspace.mkdir()
        trainers._train(model, model.champion, RoundRequest(pretrained), workspace, workspace / "d.json", silent)
        assert seen["exists"] is pretrained


@pytest.mark.parametrize(
    "request_", [{"iterations": 0}, {"iterations": "many"}, {"iterations": 1.5}, {"pretrained": "no"}]
)
def test_rounds_that_make_no_sense_are_refused(request_):
    with pytest.raises(InputError):
        RoundRequest.from_client(request_)


def test_progress_of_a_dead_training_is_not_shown(untrained, tmp_path):
    model = Model(untrained, State(tmp_path / "state"))
    path = model.state.training(model.name) / "progress.json"
    path.parent.mkdir(parents=True)
    row = {"phase": "training", "share": 0.5, "minutes_left": 1.0}
    path.write_text(json.dumps({**row, "pid": os.getpid()}))
    assert trainers.read_progress(model)["share"] == 0.5
    path.write_text(json.dumps({**row, "pid": 2**22 + 1}))
    assert trainers.read_progress(model) is None


# datastores


def test_images_are_found_in_folders_and_series_and_never_behind_links(tmp_path):
    studies = tmp_path / "studies"
    truth = write_small_phantoms(studies / "deep" / "er", [0])
    volume = read_volume(studies / "deep" / "er" / "p0.nii.gz")
    named = Volume(volume.array, volume.grid, "CT", Acquisition(subject_id="Person 9"))
    write_dicom_series(studies / "series", named)
    (studies / "labels" / "final").mkdir(parents=True)
    shutil.copy(studies / "deep" / "er" / "p0.nii.gz", studies / "labels" / "final")
    (tmp_path / "outside").mkdir()
    shutil.copy(studies / "deep" / "er" / "p0.nii.gz", tmp_path / "outside" / "secret.nii.gz")
    (studies / "link").symlink_to(tmp_path / "outside")
    datastore = FolderDatastore(studies, State(default_state(str(studies))), {MODEL: SCHEMA})
    assert datastore.list_images() == ["deep/er/p0", "series"]
    assert datastore.patient("series") == "Person 9"
    assert datastore.patient("deep/er/p0") == "deep/er/p0"
    assert read_volume(datastore.image_file("series")).grid.shape == volume.grid.shape
    with pytest.raises(UnknownImage):
        datastore.source("link/secret")
    (studies / "patients.csv").write_text("image,patient\ndeep/er/p0.nii.gz,Person 9\n")
    datastore.refresh()
    assert datastore.patient("deep/er/p0") == "Person 9"
    assert truth


def test_a_table_of_patients_without_its_columns_is_refused(tmp_path):
    write_small_phantoms(tmp_path, [0])
    (tmp_path / "patients.csv").write_text("scan,who\np0,a\n")
    with pytest.raises(InputError, match="'image' and 'patient'"):
        FolderDatastore(tmp_path, State(tmp_path / ".myotome"), {MODEL: SCHEMA}).list_images()


def test_nrrd_and_its_space_are_understood(place, tmp_path):
    import SimpleITK

    truth, datastore = place
    write_label_map(tmp_path / "l.nii.gz", truth["p0"])
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(tmp_path / "l.nii.gz")), str(tmp_path / "l.nrrd"))
    saved = datastore.save_annotation("p0", tmp_path / "l.nrrd", {}, Authorship())
    kept = datastore.annotations.read(saved)
    assert kept.grid.same_as(truth["p0"].grid)
    assert np.array_equal(kept.array, truth["p0"].array)


# strategies


def test_a_second_reading_goes_to_another_reader(place, untrained, tmp_path):
    truth, datastore = place
    model = Model(untrained, datastore.state)
    strategy = NextImage("random", [model], Reservations(tmp_path / "r.json"))
    label_all(datastore, {"p3": truth["p3"]})
    assert strategy({"reader": "Ada", "double_reading": True}, datastore) == {}
    assert strategy({"reader": "Bo", "double_reading": True}, datastore) == {"id": "p3", "second_reading": True}
    assert strategy({"reader": "Cy"}, datastore)["id"] != "p3"


# the inference process


def test_urgent_jobs_come_first_and_refusals_come_back():
    worker = InferenceWorker()
    try:
        first = worker.submit(time.sleep, 0.5)
        late, order = [], []
        for priority in (2, 1, 0):
            future = worker.submit(os.getpid, priority=priority)
            future.add_done_callback(lambda _, priority=priority: order.append(priority))
            late.append(future)
        assert late[0].result(60) != os.getpid()
        assert first.done()
        assert order == [0, 1, 2]
        with pytest.raises(InputError, match="nothing at"):
            worker.submit(read_volume, Path("missing.nii.gz")).result(60)
    finally:
        worker.close()


def test_a_killed_inference_process_is_started_anew():
    worker = InferenceWorker()
    try:
        pid = worker.submit(os.getpid).result(60)
        waiting = worker.submit(time.sleep, 1.0)
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        assert waiting.result(60) is None  # slept to its end, in another process
        assert worker.submit(os.getpid).result(60) not in (pid, os.getpid())
    finally:
        worker.close()


def test_an_image_that_kills_it_twice_is_refused_and_the_next_one_is_served():
    worker = InferenceWorker()
    try:
        with pytest.raises(MyotomeError, match="died twice"):
            worker.submit(os.abort).result(60)
        assert worker.submit(os.getpid).result(60) != os.getpid()
    finally:
        worker.close()


# the token


def test_a_session_says_who_it_is_and_cannot_be_made_up():
    access = Access("a long secret")
    session = access.session("Zoë Müller")
    assert access.reader_of(session) == "Zoë Müller"
    assert access.reader_of("a long secret") == ""
    name, _, signature = session.partition(".")
    for forged in (
        "",
        "wrong",
        f"{name}.{signature[:-1]}0",
        f"{name}x.{signature}",
        f".{signature}",
        Access("another secret").session("Zoë"),
    ):
        assert access.reader_of(forged) is None, forged
    assert clean_reader("<b>Zoë\r\nSet-Cookie: x</b>") == "b Zoë  Set-Cookie  x  b"


def test_a_token_that_can_be_guessed_is_refused():
    with pytest.raises(InputError, match="can be guessed"):
        Access("short")


def test_a_body_that_grows_beyond_its_limit_is_cut_off():
    taken = []

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            taken.append(len(message["body"]))

    async def receive():
        return {"type": "http.request", "body": b"0" * 2**20, "more_body": True}

    async def send(message):
        pass

    headers = [(b"host", b"localhost:1"), (b"authorization", b"Bearer a long secret")]
    scope = {"type": "http", "method": "PUT", "path": "/", "headers": headers, "state": {}}
    guard = Guard(app, Access("a long secret"), frozenset({"localhost"}), largest_mb=3)
    asyncio.run(guard(scope, receive, send))
    assert sum(taken) == 3 * 2**20


@pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed (.ci/run installs it)")
def test_a_killed_server_takes_its_processes_along(tmp_path):
    server = LabelServer(["--with-orthanc", "--no-demo", "--state", str(tmp_path / "state")], tmp_path / "log")
    server.start()
    children = psutil.Process(server.pid).children(recursive=True)
    assert "Orthanc" in {child.name() for child in children}
    os.kill(server.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=30)
    server.kill()
    assert alive == []


def test_scores_of_the_champion_decide_and_wait_until_they_are_there(place, tmp_path):
    truth, datastore = place
    model = Model(bundle_root(MODEL), datastore.state)
    strategy = NextImage("measurement", [model], Reservations(tmp_path / "r.json"))
    worker = InferenceWorker()
    scoring = BackgroundScoring(model, datastore, worker, pause_s=0.05)
    assert scoring.todo() == list(truth)
    scoring.start()
    try:
        end = time.monotonic() + 120
        while scoring.todo() and time.monotonic() < end:
            time.sleep(0.2)
        scores = {image: read_scores(model, model.champion.weights_sha256, image) for image in truth}
        assert all(set(row.measurement_spread) <= {s.name for s in SCHEMA.structures} for row in scores.values())
        assert all(0 < row.entropy < np.log(5) for row in scores.values())
        assert scoring.failed == {}
        assert strategy({"reader": "Ada"}, datastore)["id"] in truth
    finally:
        scoring.stop()
        worker.close()


@pytest.mark.alone
def test_a_server_stops_at_once_while_it_trains_and_drafts(tmp_path):
    write_small_phantoms(tmp_path / "studies", range(3))
    server = LabelServer(["--studies", str(tmp_path / "studies")], tmp_path / "log")
    server.start()
    first, *others = [server.post("/train/").json()[MODEL]["id"] for _ in range(4)]
    assert set(others) == {first}  # asking again does not make the queue longer
    server.post(f"/batch/infer/{MODEL}?images=all")
    time.sleep(2)
    children = psutil.Process(server.pid).children(recursive=True)
    server.interrupt()
    _, alive = psutil.wait_procs(children, timeout=20)
    server.kill()
    assert alive == []


def test_two_images_with_the_same_labels_have_scores_of_their_own(place, untrained):
    truth, datastore = place
    shutil.copy(datastore.source("p0"), datastore.folder / "twin.nii.gz")
    datastore.refresh()
    cases = [
        datastore.annotations.save(image, truth["p0"], datastore.grid(image), Authorship()) for image in ("p0", "twin")
    ]
    assert cases[0].labels_sha256 == cases[1].labels_sha256
    scores = trainers._score(untrained, datastore, cases, datastore.state.root / "scores")
    assert set(scores) == {"p0", "twin"}
    assert len(list((datastore.state.root / "scores").iterdir())) == 2


# bundles that label one vertebral level


def test_a_level_is_scored_in_the_slice_that_the_reader_drew_in():
    """Three slices of a body between two of air: the prediction lies where the reference does, or nowhere."""
    array = np.full((120, 120, 5), -1000, np.int16)
    array[20:100, 30:90, 1:4] = -100
    volume = Volume(array, Grid(array.shape, np.diag([3.0, 3.0, 5.0, 1.0])), "CT", Acquisition())
    segmenter = BundleSegmenter("l3_muscle_ct_segmentation", engine="eager")
    labels = np.zeros(array.shape, np.uint8)
    for drawn in ([], [2], [1, 2, 3]):
        labels[...] = 0
        labels[40:80, 40:80, drawn] = 2
        found = trainers._segment_where_drawn(segmenter, volume, LabelMap(labels, volume.grid, segmenter.schema))
        assert np.flatnonzero(found.array.any(axis=(0, 1))).tolist() == drawn
