"""Self-contained pages: templates to HTML, figures as text inside them, HTML to PDF."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from myotome.io.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NO_PDF", "embed_figure", "render_page", "write_page", "write_pdf"]

NO_PDF = (
    "there is no PDF, since the library Pango is not installed: 'sudo apt-get install libpangoft2-1.0-0', or print "
    "report.html from a browser."
)

_DPI = 110


def render_page(template: str, **values: Any) -> str:
    """HTML of a template of this room; every value is escaped, and one that the template lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def embed_figure(figure: Figure) -> str:
    """A figure as the ``src`` of an ``<img>``: a PNG in base64, the same bytes for the same figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def write_page(path: Path | str, html: str) -> None:
    """Write a page as UTF-8.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")


def write_pdf(path: Path | str, html: str) -> bool:
    """Write a page as PDF, laid out by its ``@media print`` rules.

    Returns
    -------
    bool : False, and nothing is written, where Pango, which lays text out, is not installed; say `NO_PDF` then.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    from PIL import ImageFile

    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        from weasyprint import HTML
    except OSError:
        return False
    finally:  # weasyprint has Pillow take damaged images for whole ones, in DICOM files too
        ImageFile.LOAD_TRUNCATED_IMAGES = strict
    with atomic_path(path) as temporary:
        HTML(string=html).write_pdf(temporary)
    return True
