"""Requests that mean harm, or make no sense: each is refused, and nothing outside the server's own folder changes."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from myotome.io import write_label_map
from tests.integration.label_server import MODEL, TOKEN, LabelServer, write_small_phantoms

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
OUTSIDE = [
    "/etc/passwd",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "file:///etc/passwd",
    "p0/../../secret",
    ".myotome/token",
    "p0\0.nii.gz",
    "~/.ssh/id_rsa",
    "http://127.0.0.1/",
    "secret",
    "link",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A studies folder with a secret beside it, and a link that leads there."""
    place = tmp_path_factory.mktemp("place")
    truth = write_small_phantoms(place / "studies", range(2))
    (place / "secret.nii.gz").write_bytes((place / "studies" / "p0.nii.gz").read_bytes())
    (place / "studies" / "link.nii.gz").symlink_to(place / "secret.nii.gz")
    write_label_map(place / "label.nii.gz", truth["p0"])
    return place


@pytest.fixture(scope="module")
def server(place, tmp_path_factory):
    server = LabelServer(["--studies", str(place / "studies")], tmp_path_factory.mktemp("log") / "log")
    server.start()
    yield server
    server.stop()


def digest(place: Path) -> dict[str, str]:
    """Every file but the server's own."""
    files = [path for path in place.rglob("*") if path.is_file() and ".myotome" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def nothing_outside_changes(place):
    before = digest(place)
    yield
    assert digest(place) == before


@pytest.mark.parametrize("image", OUTSIDE)
def test_ids_cannot_leave_the_studies_folder(server, place, image):
    label = {"label": ("label.nii.gz", (place / "label.nii.gz").read_bytes())}
    unknown, malformed = (404,), (400, 404)
    replies = [
        (unknown, server.post(f"/infer/{MODEL}", params={"image": image})),
        (unknown, server.get("/datastore/image", params={"image": image})),
        (unknown, server.get("/datastore/image/info", params={"image": image})),
        (unknown, server.put("/datastore/label", params={"image": image}, files=label)),
        (malformed, server.put("/datastore/label", params={"image": "p0", "tag": image}, files=label)),
        (unknown, server.get("/datastore/label", params={"label": image, "tag": "final"})),
        (malformed, server.get("/datastore/label", params={"label": "p0", "tag": image})),
        (unknown, server.get("/datastore/label/versions", params={"image": image})),
        (malformed, server.get("/datastore/label/info", params={"label": "p0", "version": image})),
        (unknown, server.get("/draft", params={"image": image, "model": MODEL})),
    ]
    assert [reply.status_code for allowed, reply in replies if reply.status_code not in allowed] == []
    # An image named in the parameters is not looked at: p0 is what is segmented.
    reply = server.post(f"/infer/{MODEL}?image=p0&output=json", data={"params": json.dumps({"image": image})})
    assert reply.status_code == 200
    assert b"root:" not in server.get(f"/ohif/{image}").content


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"/model/{MODEL}"),
        ("GET", f"/model/{MODEL}"),
        ("GET", "/logs/"),
        ("PUT", "/datastore/"),
        ("PUT", "/datastore/image"),
        ("DELETE", "/datastore/image?id=p0"),
        ("DELETE", "/datastore/label?id=p0&tag=final"),
        ("GET", "/datastore/dataset"),
        ("PUT", "/session/"),
        ("POST", "/infer/wsi/x?image=p0"),
        ("POST", "/reload"),
        ("GET", "/static/ohif/index.html"),
        ("GET", "/docs"),
    ],
)
def test_what_nobody_needs_is_not_there(server, method, path):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    reply = requests.request(method, f"{server.url}{path}", headers=headers, timeout=30)
    assert reply.status_code in (404, 405)


@pytest.mark.parametrize(
    "raw", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 100000 + b"\r\n\r\n"]
)
def test_what_is_no_http_does_not_stop_the_server(server, raw):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1000)
    assert server.get("/info/").status_code == 200


def test_a_body_over_the_limit_is_refused(server):
    def body():
        for _ in range(1100):
            yield b"0" * 2**20

    headers = {"Authorization": f"Bearer {TOKEN}"}
    big = {**headers, "Content-Length": str(2**31)}
    request = requests.Request("PUT", f"{server.url}/datastore/label?image=p0", headers=big).prepare()
    request.headers["Content-Length"] = str(2**31)
    with requests.Session() as session:
        assert session.send(request, timeout=30).status_code == 413
    assert server.get("/info/").status_code == 200


@pytest.mark.parametrize("known_ids", [False, True], ids=["random ids", "known ids"])
def test_a_thousand_fuzzed_requests_give_no_server_error(server, tmp_path, known_ids):
    """Schemathesis over our own OpenAPI description; with ids that exist, the requests get further."""
    if known_ids:
        values = {"path.model": MODEL, "query.image": "p1", "query.label": "p1", "path.strategy": "random"}
        rows = "\n".join(f'"{key}" = "{value}"' for key, value in values.items())
        (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{rows}\n")
    command = [str(SCHEMATHESIS), "run", f"{server.url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}"]
    command += ["--phases", "coverage,fuzzing", "-n", "25", "--seed", "7", "--continue-on-failure", "--no-color"]
    command += ["-c", "not_a_server_error", "-c", "ignored_auth", "--suppress-health-check", "all"]
    command += ["--exclude-path", "/train/{model}", "--request-timeout", "60"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stdout[-4000:]
    generated = int(run.stdout.rsplit("Test cases:", 1)[1].split()[0])
    assert generated > 500
    assert server.get("/info/").status_code == 200


def test_eight_clients_at_once_get_two_hundred_right_answers(server, place):
    expected = hashlib.sha256(server.post(f"/infer/{MODEL}?image=p0&output=image").content).hexdigest()
    label = (place / "label.nii.gz").read_bytes()
    before = len(server.get("/datastore/label/versions?image=p0").json())

    def ask(number: int) -> bool:
        kind = number % 5
        if kind == 0:
            return server.get("/info/").json()["name"] == "Myotome"
        if kind == 1:
            image = server.post(f"/infer/{MODEL}?image=p0&output=image").content
            return hashlib.sha256(image).hexdigest() == expected
        if kind == 2:
            reply = server.put("/datastore/label?image=p0", files={"label": ("l.nii.gz", label)})
            return reply.json()["image"] == "p0"
        if kind == 3:
            return set(server.get("/datastore/?output=all").json()["objects"]) == {"p0", "p1"}
        return server.get("/datastore/image?image=nobody").status_code == 404

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))
    assert len(server.get("/datastore/label/versions?image=p0").json()) == before + 40
