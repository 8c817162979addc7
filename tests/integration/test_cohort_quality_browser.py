"""Quality control in headless Chromium: 3,200 cases open and scroll; decisions reach the store."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
import uvicorn
from PIL import Image

from myotome.cohort.quality import import_decisions, write_quality_page
from myotome.cohort.server import Serving, create_review_server
from myotome.store import Store
from tests.integration.ohif_reader import find_chromium

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "cohort"))
from quality_cohort import case_name, change, make_people, write_people

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed (.ci/run installs it)")

COUNT = 3200
TOKEN = "a-token-for-tests"
ODD = case_name(1234)
LARGEST_BYTES = 20 * 2**20
MOST_NODES = 1500


def make_pictures(folder: Path) -> dict[str, Path]:
    Image.new("RGB", (288, 128), (40, 90, 60)).save(folder / "thumbnail.webp")
    Image.new("RGB", (900, 400), (90, 40, 60)).save(folder / "overview.png")
    (folder / "report.html").write_text("<!DOCTYPE html><html lang=en><title>Case</title><h1>The case's report</h1>")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def many():
    """3,200 cases, of which one has a left pectoralis of a third of its volume; in memory where there is a place."""
    cases, measurements = make_people(COUNT, seed=61)
    change(measurements, 1234, "pectoralis", "left", "volume", 0.33)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name, "pictures")
        folder.mkdir()
        thumbnail = make_pictures(folder)["thumbnail.webp"]
        yield write_people(Path(name, "cohort"), cases, measurements, {"thumbnail.webp": thumbnail})


@pytest.fixture
def few(tmp_path, pictures):
    cases, measurements = make_people(24, seed=62)
    return write_people(tmp_path / "cohort", cases, measurements, pictures)


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page that must end without an error of its scripts and without a request to another host."""
    context = chromium.new_context(viewport={"width": 1500, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda line: page.complaints.append(line.text) if line.type == "error" else None)
    yield page
    context.close()


@contextmanager
def serving(store, port=0):
    """The review server in a thread; gives its address with the token."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        options = Serving(port=listener.getsockname()[1], token=TOKEN)
        server = uvicorn.Server(uvicorn.Config(create_review_server(store, options), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield options.address
        finally:
            server.should_exit = True
            thread.join()


def open_page(page, address):
    page.goto(address)
    page.locator(".card").first.wait_for()


def give_name(page, name="Ada"):
    page.fill("#reader", name)
    page.keyboard.press("Enter")


def nodes(page):
    return page.evaluate("document.getElementsByTagName('*').length")


def shown(page):
    """Cases of the cards, in the order of the page."""
    places = page.evaluate(
        "[...document.querySelectorAll('.card')].map(card => [+card.dataset.place, card.id.slice(5)])"
    )
    return [case for _, case in sorted(places)]


def selected(page):
    return page.locator("#case .id").inner_text()


def decisions(store):
    rows = Store(store.folder).frame("SELECT case_id, decision, reviewer, note FROM reviews ORDER BY case_id")
    return {row.case_id: (row.decision, row.reviewer, row.note) for row in rows.itertuples()}


def saved(page, text="All decisions are saved"):
    page.locator("#saving", has_text=text).wait_for()


def test_thousands_of_cases_open_scroll_sort_and_filter(page, many):
    path = write_quality_page(many)
    assert path.stat().st_size < LARGEST_BYTES
    open_page(page, path.as_uri())
    assert page.locator("#count").inner_text() == "1 / 3,200 cases"
    assert nodes(page) < MOST_NODES
    # Most outlying first.
    assert shown(page)[0] == ODD == selected(page)
    assert "Pectoralis, left: volume" in page.locator("#case .why li").first.inner_text()
    assert page.locator(".card img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 288
    page.evaluate("document.getElementById('grid').scrollTop = 1e9")
    last = page.locator(f"[data-place='{COUNT - 1}']")
    last.wait_for()
    # Cases without a score, which were refused or failed, come last, with their reasons.
    assert last.locator(".thumb.none").inner_text() in (
        "Failed\nthe worker ended for want of memory.",
        "Refused\nthe series has gaps between its slices.",
    )
    assert nodes(page) < MOST_NODES
    page.select_option("#sort", "id")
    assert shown(page)[:3] == [case_name(number) for number in range(3)]
    page.select_option("#sort", "uncertainty")
    highest = many.frame("SELECT case_id FROM cases ORDER BY uncertainty DESC NULLS LAST, case_id LIMIT 3")
    assert shown(page)[:3] == highest["case_id"].tolist()
    page.locator("#flags .chip", has_text="metal").click()
    metal = many.frame("SELECT count(*) AS n FROM cases WHERE list_contains(flags, 'metal')")["n"].item()
    assert page.locator("#count").inner_text() == f"1 / {metal} of 3,200 cases"
    page.locator("#clear").click()
    page.keyboard.press("/")
    page.keyboard.type(ODD)
    page.keyboard.press("Enter")
    assert page.locator("#count").inner_text() == "1 / 1 of 3,200 cases" and selected(page) == ODD
    assert page.complaints == []


def test_a_reader_reviews_by_keyboard_and_the_store_keeps_it(page, few):
    with serving(few) as address:
        open_page(page, address)
        assert "token" not in page.url
        order = [
            page.locator(f"[data-place='{place}']").get_attribute("id").removeprefix("card-") for place in range(6)
        ]
        page.keyboard.press("a")
        assert page.locator("#message").inner_text().startswith("Give your name first")
        assert page.evaluate("document.activeElement.id") == "reader"
        give_name(page)
        page.keyboard.press("a")
        page.keyboard.press("x")
        page.keyboard.press("n")
        page.keyboard.type("rib as muscle")
        page.keyboard.press("Enter")
        page.keyboard.press("s")
        assert selected(page) == order[3]
        saved(page)
        expected = {
            order[0]: ("accept", "Ada", ""),
            order[1]: ("exclude", "Ada", ""),
            order[2]: ("annotate", "Ada", "rib as muscle"),
        }
        assert decisions(few) == expected
        # A decision that replaced another is undone to that one.
        page.keyboard.press("k")
        page.keyboard.press("k")
        page.keyboard.press("a")
        saved(page)
        assert decisions(few)[order[1]][0] == "accept"
        page.keyboard.press("u")
        assert selected(page) == order[1]
        saved(page)
        assert decisions(few) == expected
        # The page is fresh at each load.
        page.reload()
        page.locator(".badge.exclude").wait_for()
        assert page.locator("#decisions .chip", has_text="To annotate").inner_text() == "To annotate 1"
        with page.expect_popup() as report:
            page.keyboard.press("Enter")
        report.value.get_by_text("The case's report").wait_for()
        assert report.value.url.endswith(f"/cases/{order[0]}/report.html")
        with page.expect_popup() as report:
            page.locator(".card .thumb").nth(1).click()
        report.value.get_by_text("The case's report").wait_for()
    assert page.complaints == []


def test_decisions_wait_for_a_server_that_is_gone(page, few):
    with serving(few) as address:
        port = int(address.split(":")[2].split("/")[0])
        open_page(page, address)
        give_name(page)
    page.keyboard.press("a")
    page.keyboard.press("x")
    saved(page, "2 decisions not saved: the server does not answer")
    assert page.locator("#retry").is_visible() and page.locator(".badge.unsaved").count() == 2
    assert decisions(few) == {}
    with serving(few, port):
        saved(page)
        assert sorted(decision for decision, *_ in decisions(few).values()) == ["accept", "exclude"]
        assert page.locator(".badge.unsaved").count() == 0
    # What a browser complains of while the server is gone is all there is.
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in page.complaints)


def test_two_readers_see_each_other(page, few):
    with serving(few) as address:
        open_page(page, address)
        give_name(page, "Ada")
        case = selected(page)
        few.write_review(case, "exclude", "Bob")
        page.keyboard.press("a")
        page.locator("#message", has_text="Bob decided meanwhile").wait_for()
        assert decisions(few)[case] == ("exclude", "Bob", "")
        page.keyboard.press("k")
        assert page.locator("#case", has_text="Excluded by Bob").is_visible()
        page.keyboard.press("a")
        saved(page)
        assert decisions(few)[case] == ("accept", "Ada", "")


def test_a_review_from_disk_is_kept_downloaded_and_imported(page, few, tmp_path):
    address = write_quality_page(few).as_uri()
    open_page(page, address)
    give_name(page)
    order = shown(page)
    for key in "axs":
        page.keyboard.press(key)
    page.keyboard.press("u")
    saved(page, "2 decisions kept in this browser")
    page.reload()
    saved(page, "2 decisions kept in this browser")
    assert page.locator(".badge").count() == 2
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / "decisions.json")
    table = json.loads((tmp_path / "decisions.json").read_text())
    assert [(entry["case_id"], entry["decision"]) for entry in table["decisions"]] == [
        (order[0], "accept"),
        (order[1], "exclude"),
    ]
    done = import_decisions(few, tmp_path / "decisions.json")
    assert (done.written, done.older) == (2, 0)
    assert decisions(few) == {order[0]: ("accept", "Ada", ""), order[1]: ("exclude", "Ada", "")}
    # The page that is written after the import has them, and the browser lets go of its own.
    write_quality_page(Store(few.folder))
    page.goto(address)
    saved(page, "Opened from disk")
    assert page.locator(".badge").count() == 2
    with page.expect_popup() as report:
        page.keyboard.press("Enter")
    report.value.get_by_text("The case's report").wait_for()
    assert page.complaints == []


def test_the_large_picture_follows_the_keys(page, few):
    open_page(page, write_quality_page(few).as_uri())
    page.keyboard.press("Space")
    page.wait_for_function("document.getElementById('overview').naturalWidth === 900")
    first = page.locator("#overview").get_attribute("src")
    page.keyboard.press("j")
    page.locator(f"#overview[src='cases/{selected(page)}/overview.png']").wait_for()
    assert selected(page) not in first
    page.keyboard.press("Space")
    assert page.locator("#grid").is_visible() and page.complaints == []


def test_the_program_serves_until_it_is_interrupted(few):
    program = "from myotome.cli.cohort_quality import serve; import sys; serve(sys.argv[1], port=int(sys.argv[2]))"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", program, str(few.folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[1].startswith(f"  http://127.0.0.1:{port}/?token=") and lines[2] == "Stop with Ctrl-C.\n"
        # The port is taken before it is announced, so this waits until the server is there.
        with build_opener(HTTPCookieProcessor()).open(lines[1].strip(), timeout=20) as reply:
            assert reply.status == 200
        process.send_signal(signal.SIGINT)
        process.wait(20)
    finally:
        process.kill()
    assert process.returncode == 0
