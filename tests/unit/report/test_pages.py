import pytest

from myotome.report.pages import NO_PDF, embed_figure, write_page, write_pdf
from tests.conftest import PDF


def test_a_page_is_written_as_it_is(tmp_path):
    write_page(tmp_path / "a.html", "<p>µ\n</p>")
    assert (tmp_path / "a.html").read_bytes() == "<p>µ\n</p>".encode()


@pytest.mark.skipif(not PDF, reason=NO_PDF)
def test_a_pdf_holds_the_page(tmp_path):
    assert write_pdf(tmp_path / "a.pdf", "<p>hello</p>")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.skipif(not PDF, reason=NO_PDF)
def test_after_a_pdf_damaged_images_are_still_damaged(tmp_path):
    from PIL import ImageFile

    write_pdf(tmp_path / "a.pdf", "<p>hello</p>")
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_without_pango_there_is_no_pdf_and_no_error(tmp_path, monkeypatch):
    (tmp_path / "weasyprint.py").write_text("raise OSError('cannot load library libpango')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "weasyprint", raising=False)
    assert not write_pdf(tmp_path / "a.pdf", "<p>hello</p>")
    assert not (tmp_path / "a.pdf").exists()


def test_a_figure_is_the_same_text_every_time():
    from matplotlib.figure import Figure

    texts = []
    for _ in range(2):
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([1, 2], [3, 4])
        texts.append(embed_figure(figure))
    assert texts[0] == texts[1]
    assert texts[0].startswith("data:image/png;base64,iVBOR")
