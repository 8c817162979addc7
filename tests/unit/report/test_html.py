"""The report says what was measured, explains every flag, and loads nothing."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from myotome.measurement import CaseResult
from myotome.report.chart import make_area_chart
from myotome.report.flag_meanings import describe_flag
from myotome.report.html import write_report
from tests.unit.report.cases import make_case

_VOID = {"meta", "img", "line", "path", "br", "link", "input"}


class Page(HTMLParser):
    """Rows of tables as text, attributes of tags, and whether the tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        assert tag in _VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.strip()


def write(tmp_path, volume, result, picture=None):
    path = tmp_path / "report.html"
    write_report(path, volume, result, picture)
    return path.read_text(encoding="utf-8")


def test_every_measured_volume_is_in_the_table(tmp_path):
    volume, result = make_case()
    page = Page(write(tmp_path, volume, result))
    assert page.open == []
    cells = {(row[0], row[1]): row[2:] for row in page.rows if len(row) > 2}
    voxels = np.count_nonzero(result.label_map.array == 1)
    assert cells["Pectoralis", "both"][0] == f"{voxels * 0.024:.1f}"
    assert cells["Pectoralis", "both"][2] == "50.0"
    assert cells["Pectoralis", "left"][0] == "–" and cells["Pectoralis", "left"][-1] == "absent"
    assert cells["Erector spinae", "left"][0] == f"{20 * 10 * 16 * 0.024:.1f}"


def test_levels_have_their_own_table(tmp_path):
    volume, result = make_case(levels={"T4": 10})
    text = write(tmp_path, volume, result)
    assert "Level T4" in text and "Slice 10." in text
    rows = [row for row in Page(text).rows if row[:2] == ["Pectoralis", "both"]]
    assert rows[1][2] == f"{30 * 10 * 0.04:.1f}"


def test_flags_are_explained_in_sentences(tmp_path):
    volume, result = make_case()
    text = write(tmp_path, volume, result)
    assert "thick slices" in text and describe_flag("thick_slices").replace("'", "&#39;") in text
    assert describe_flag("lossy_compression") in text
    assert "(Pectoralis, left" in text


def test_one_file_that_loads_nothing_and_shows_the_picture(tmp_path):
    volume, result = make_case()
    (tmp_path / "overview.png").write_bytes(b"\x89PNG picture")
    text = write(tmp_path, volume, result, tmp_path / "overview.png")
    page = Page(text)
    (image,) = [attrs for tag, attrs in page.tags if tag == "img"]
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == b"\x89PNG picture"
    assert len(image["alt"]) > 40
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe"}
    assert not re.search(r"https?://|url\(|@import", text)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")


def test_text_is_escaped_and_no_patient_is_named(tmp_path):
    volume, result = make_case(name="<script>alert(1)</script>")
    text = write(tmp_path, volume, result)
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert "Doe" not in text and "Jane" not in text
    assert "S-17" in text and "B40f" in text and "ab" * 32 in text


def test_the_same_case_gives_the_same_bytes(tmp_path):
    volume, result = make_case()
    assert write(tmp_path, volume, result) == write(tmp_path, volume, result)


def test_a_case_without_measurements_has_a_page(tmp_path):
    volume, result = make_case()
    text = write(tmp_path, volume, CaseResult(result.label_map, (), result.provenance, ("no_muscle_found",)))
    assert describe_flag("no_muscle_found") in text
    assert "<svg" not in text


@pytest.mark.parametrize(("codes", "rising"), [("RAS", True), ("RAI", False)])
def test_the_chart_is_drawn_from_the_lowest_slice_upwards(codes, rising):
    _, result = make_case(codes)
    chart = make_area_chart(result, 20, 6.0, rising)
    (pectoralis, spinae) = chart.lines
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+) ", pectoralis.path)]
    span = chart.right - chart.left
    assert min(xs) == pytest.approx(chart.left + span * 8 / 19, abs=0.1)
    assert max(xs) == pytest.approx(chart.left + span * 15 / 19, abs=0.1)
    assert pectoralis.colour == "#d64d4d" and "12.0 cm²" in pectoralis.largest and "16.0 cm²" in spinae.largest


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("truncated_left", "on the patient's left"),
        ("truncated_anterior", "in front"),
        ("cut_first_slice", "first slice"),
        ("contrast_suspected", "Contrast"),
        ("series_chosen:Thorax 1.0", "Thorax 1.0"),
        ("something_new", "Something new."),
    ],
)
def test_flags_have_meanings(flag, words):
    sentence = describe_flag(flag)
    assert words in sentence and sentence.endswith(".") and "{" not in sentence
