"""The review server: who may come in, what it shows, and what it keeps."""

import json
import os
import re
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from myotome.cohort.server import Serving, create_review_server, serve_reviews
from myotome.errors import InputError
from myotome.store import CaseRecord, Store
from tests.unit.cohort.quality_cohort import case_name, make_people, write_people

TOKEN = "a-token-for-tests"
CASE = case_name(0)


@contextmanager
def running(store, **options):
    """The server in a thread, on a port of its own; gives its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        app = create_review_server(store, Serving(port=port, token=TOKEN, **options))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    (folder / "thumbnail.webp").write_bytes(b"RIFFpicture")
    (folder / "report.html").write_text("<h1>report</h1>")
    (folder / "labels.nii.gz").write_bytes(b"labels")
    pictures = {path.name: path for path in folder.iterdir()}
    cases, measurements = make_people(60, seed=41)
    return write_people(folder / "cohort", cases, measurements, pictures)


@pytest.fixture(scope="module")
def base(cohort):
    with running(cohort) as address:
        yield address


@pytest.fixture
def stranger(base):
    with httpx.Client(base_url=base, timeout=30) as client:
        yield client


@pytest.fixture
def client(stranger):
    assert stranger.get("/", params={"token": TOKEN}).status_code == 303
    return stranger


def send(client, case=CASE, decision="accept", reviewer="Ada", **more):
    return client.post("/api/reviews", json={"case_id": case, "decision": decision, "reviewer": reviewer, **more})


def latest(cohort, case):
    frame = Store(cohort.folder).frame("SELECT decision, reviewer, note FROM reviews WHERE case_id = ?", [case])
    return [tuple(row) for row in frame.itertuples(index=False)]


def history(cohort, case):
    return len(list((cohort.folder / "reviews" / case).glob("*.json")))


def test_nothing_is_shown_without_the_token(stranger):
    for path in ("/", "/quality.html", f"/cases/{CASE}/report.html", "/?token=wrong-token-wrong"):
        reply = stranger.get(path)
        assert reply.status_code == 401
        assert reply.json()["detail"].startswith("open the address that 'myotome cohort serve' printed")
    assert send(stranger).status_code == 401


def test_the_printed_address_lets_in_and_leaves_no_token_in_the_address(stranger, base):
    address = Serving(token=TOKEN, port=int(base.rpartition(":")[2])).address
    assert address == f"{base}/?token={TOKEN}"
    reply = stranger.get(address)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert stranger.get("/").status_code == 200


def test_a_script_may_use_the_token_as_a_header(stranger):
    assert stranger.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8010", ""])
def test_another_name_is_refused(client, host):
    reply = client.get("/", headers={"Host": host})
    assert reply.status_code == 400 and "does not go by that name" in reply.json()["detail"]


def test_a_name_that_was_allowed_is_served(cohort):
    with running(cohort, hosts=frozenset({"reading.room"})) as address:
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": "reading.room:8010"}
        assert httpx.get(address, headers=headers, timeout=30).status_code == 200


def test_a_short_token_is_refused():
    with pytest.raises(InputError, match="a token of 5 letters can be guessed"):
        Serving(token="short")


def test_the_page_is_protected_and_runs_its_own_script_only(client):
    reply = client.get("/")
    policy = reply.headers["content-security-policy"]
    [nonce] = re.findall(r"script-src 'nonce-([\w-]+)'", policy)
    assert f'<script nonce="{nonce}">' in reply.text
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff" and reply.headers["x-frame-options"] == "DENY"
    assert reply.headers["cache-control"] == "no-store"
    assert nonce not in client.get("/").text


def test_pictures_and_reports_are_shown(client):
    reply = client.get(f"/cases/{CASE}/thumbnail.webp")
    assert (reply.content, reply.headers["content-type"]) == (b"RIFFpicture", "image/webp")
    reply = client.get(f"/cases/{CASE}/report.html")
    assert reply.text == "<h1>report</h1>" and "script" not in reply.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        f"/cases/{CASE}/labels.nii.gz",
        f"/cases/{CASE}/case.json",
        f"/cases/{CASE}/overview.png",
        f"/cases/{CASE}/..%2f..%2f..%2fprivate%2fkey",
        f"/cases/{CASE}%2f..%2f..%2fprivate/key",
        "/cases/..%2fprivate/report.html",
        "/cases/../private/key",
        "/private/key",
        "/cohort.json",
        f"/cases/{case_name(59)}/report.html",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_else_is_shown(client, path):
    assert client.get(path).status_code == 404


def test_a_link_out_of_the_cohort_is_not_followed(client, cohort, tmp_path):
    (tmp_path / "report.html").write_text("secret")
    (cohort.cases_folder / ("a" * 16)).symlink_to(tmp_path)
    case = cohort.cases_folder / case_name(1)
    (case / "overview.png").symlink_to(tmp_path / "report.html")
    try:
        assert client.get(f"/cases/{'a' * 16}/report.html").status_code == 404
        assert client.get(f"/cases/{case.name}/overview.png").status_code == 404
    finally:
        (cohort.cases_folder / ("a" * 16)).unlink()
        (case / "overview.png").unlink()


def test_a_pipe_does_not_hold_the_server(client, cohort):
    pipe = cohort.cases_folder / case_name(1) / "overview.png"
    os.mkfifo(pipe)
    try:
        assert client.get(f"/cases/{case_name(1)}/overview.png").content == b""
    finally:
        pipe.unlink()


def test_a_decision_is_in_the_store_at_once(client, cohort):
    reply = send(client, case_name(2), "annotate", "  Ada   Lovelace ", note="left arm cut off")
    assert reply.status_code == 200
    answer = reply.json()
    assert (answer["decision"], answer["reviewer"], answer["note"]) == ("annotate", "Ada Lovelace", "left arm cut off")
    assert latest(cohort, case_name(2)) == [("annotate", "Ada Lovelace", "left arm cut off")]
    assert f'"{case_name(2)}":["annotate","Ada Lovelace"' in client.get("/").text


def test_the_same_decision_sent_twice_is_kept_once(client, cohort):
    first = send(client, case_name(3), seen=None).json()
    again = send(client, case_name(3), seen=None)
    assert again.status_code == 200 and again.json() == first
    assert history(cohort, case_name(3)) == 1


def test_a_decision_that_did_not_see_the_latest_is_not_kept(client, cohort):
    first = send(client, case_name(4), "exclude", "Bob", seen=None).json()
    reply = send(client, case_name(4), "accept", "Ada", seen=None)
    assert reply.status_code == 409
    assert reply.json()["detail"] == "Bob decided meanwhile: look again." and reply.json()["latest"] == first
    assert latest(cohort, case_name(4)) == [("exclude", "Bob", "")]
    assert send(client, case_name(4), "accept", "Ada", seen=first["reviewed_at"]).status_code == 200
    assert latest(cohort, case_name(4)) == [("accept", "Ada", "")]


def test_a_decision_can_be_taken_back(client, cohort):
    send(client, case_name(5))
    assert send(client, case_name(5), "undecided").status_code == 200
    assert latest(cohort, case_name(5))[0][0] == "undecided"


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"case": "9" * 16}, "there is no case '9999999999999999' in this cohort."),
        ({"case": "../private"}, "there is no case '../private' in this cohort."),
        ({"decision": "maybe"}, "'maybe' is no decision"),
        ({"reviewer": "  "}, "a decision needs its reader's name"),
        ({"reviewer": 7}, "are texts"),
        ({"reviewer": "x" * 101}, "of at most 100 letters"),
    ],
)
def test_what_is_no_decision_is_refused_with_a_sentence(client, entry, sentence):
    reply = send(client, **entry)
    assert reply.status_code == 400 and sentence in reply.json()["detail"]


def test_only_its_own_page_may_send(client, cohort, base):
    entry = {"case_id": case_name(6), "decision": "accept", "reviewer": "Ada"}
    assert client.post("/api/reviews", json=entry, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/api/reviews", json=entry, headers={"Origin": "null"}).status_code == 403
    plain = client.post("/api/reviews", content=json.dumps(entry), headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415
    assert latest(cohort, case_name(6)) == []
    assert client.post("/api/reviews", json=entry, headers={"Origin": base}).status_code == 200


def test_what_is_too_large_or_no_object_is_refused(client, cohort):
    assert send(client, case_name(7), note="x" * 20000).status_code == 413

    def pieces():
        for _ in range(40):
            yield b" " * 1000

    chunked = client.post("/api/reviews", content=pieces(), headers={"Content-Type": "application/json"})
    assert chunked.status_code == 413
    for body in ("[1]", "{", ""):
        reply = client.post("/api/reviews", content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code == 400 and reply.json()["detail"] == "a decision is one JSON object."
    assert latest(cohort, case_name(7)) == []


def test_a_case_that_was_written_since_is_on_the_next_page(client, cohort):
    assert "e" * 16 not in client.get("/").text
    record = CaseRecord("e" * 16, "failed", "S000000000099", reason="the disk was full.", software_version="0.1.0")
    cohort.cohort.write_case(record)
    assert f'"{"e" * 16}"' in client.get("/").text


def test_a_port_that_is_taken_is_said(cohort):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(InputError, match=rf"cannot listen at 127.0.0.1:{port} \(address already in use\)"):
            serve_reviews(cohort, Serving(port=port), lambda address: pytest.fail("it said it was there"))


def test_a_name_that_is_not_this_machine_is_said(cohort):
    with pytest.raises(InputError, match=r"cannot listen at 203\.0\.113\.1:8010"):
        serve_reviews(cohort, Serving(host="203.0.113.1"), print)
