"""Serves the OHIF viewer that ships inside MONAI Label's wheel, with mends made in memory.

The viewer as shipped cannot save, has no segmentation tools in its MONAI Label mode, looks for its server on port 8000
and asks Google for fonts. `BundledOhif` reads the installed files, checks those to be mended against the hashes of the
one version that was tried (monailabel 0.8.5) and serves them mended. Nothing in site-packages is written.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

__all__ = ["HEADERS", "BundledOhif", "Mend", "installed_folder"]

logger = logging.getLogger(__name__)

OWN_FOLDER = Path(__file__).parent / "static"
OWN_PREFIX = "myotome/"
"""Paths under ``/ohif/`` that are served from our own `static` folder."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; frame-ancestors 'self'",
    "Cache-Control": "no-cache",
}
"""Headers for every reply of the `/ohif` route: the browser itself refuses every other host."""

_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webapp": "application/manifest+json",
    ".xml": "application/xml",
}

_NEVER = {"_headers", "_redirects", "google.js", "serve.json", "silent-refresh.html", "sw.js"}
"""Files of the bundle that nothing here needs. Several of them would load scripts from other hosts."""

_FONTS = "@import url(https://fonts.googleapis.com/css2?family=Inter:wght@100..900&display=swap);\n"
_MORE_FONTS = "@import url(https://fonts.googleapis.com/css?family=Inter:100,300,400,500,700&display=swap);\n"
_FONT_LINKS = (
    '<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin/>'
    '<link href="https://fonts.googleapis.com/css?family=Inter:100,300,400,500,700&display=swap" '
    'rel="stylesheet" rel="preload" as="style"/>'
)
_OWN_SCRIPT = '<script src="/ohif/myotome/measurements.js"></script>'
_FIND_SERVER = (
    "CookieUtils.getCookieString('MONAILABEL_SERVER_URL', 'http://' + window.location.host.split(':')[0] + ':8000/')"
)
_INFER_REPLY = "return await MonaiLabelClient.api_post(url, params, label, true, 'arraybuffer');"
_SHOW_DRAFT = "this.props.updateView(response, model, label_names);"
_LOAD_SEGMENTS = "this.props.commandsManager.runCommand('loadSegmentationsForViewport', {"
_SEG_IMAGES = "const segImages = imageIds.map(imageId => esm.cache.getImage(imageId));"
_ALL_SEGMENTS = "const allSegmentsOnLabelmap = labelmaps2D.map(labelmap => labelmap.segmentsOnLabelmap);"
_ALLOW_EMPTY = "window.myotome.allowEmpty(labelmaps2D, segmentationService.getSegmentation(segmentationId));\n      "
_WRITE = "const generatedSegmentation = generateSegmentation(referencedImages, labelmap3D, esm.metaData, options);"
_STORE = "await dataSource.store.dicom(naturalizedReport);"
_DOUBLE_CLICK = "const onDoubleClickThumbnailHandler = displaySetInstanceUID => {"
_LOAD_SAVED = "\n    if (window.myotome.loadsSaved(servicesManager, displaySetInstanceUID)) {\n      return;\n    }"
_META_VERSION = "dataset._meta?.FileMetaInformationVersion?.Value"
_ASK_NAME = "const promptResult = await (0,default_src.createReportDialogPrompt)(uiDialogService, {"
_FIND_SEGMENTATION = (
    "segmentationId = segmentationId || "
    "segmentationService.getActiveSegmentation(viewportGridService.getActiveViewportId())?.segmentationId;\n      "
)
_IS_SEGMENTATION = (
    "type === 'segmentation' || info.data.models[m].type === 'vista3d');\n    return models;\n  }\n  render()"
)
_OR_CLASSIFIES = "|| info.data.models[m].type === 'classification'"


@dataclass(frozen=True)
class Mend:
    """Edits of one file. They hold only for the file with this hash.

    Attributes
    ----------
    file : str
        Name inside the OHIF folder.
    sha256 : str
        Hash of the file as shipped.
    edits : tuple of (str, str)
        Texts to replace, each of which must be there exactly once, and what replaces them.
    """

    file: str
    sha256: str
    edits: tuple[tuple[str, str], ...]

    def apply(self, content: bytes) -> bytes:
        """Return the mended content, or raise `ValueError` if it is not the file that this mend is for."""
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ValueError(f"{self.file} is not the one of monailabel 0.8.5")
        text = content.decode()
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.file} has {text.count(old)} places for a mend that needs one")
            text = text.replace(old, new)
        return text.encode()


MENDS = (
    # No font from another host; our script, which the other mends call.
    Mend(
        "index.html",
        "8836f8614ec3341f7a14d3dfe2119e3e05101c0207d4dc43e41d5e1d2b0ae74c",
        ((_FONT_LINKS, _OWN_SCRIPT),),
    ),
    Mend(
        "app.bundle.css",
        "15ea595ed7d5f82d84dad64929ec6ebb746a7d41e9e5d348638db942783e8b00",
        ((_FONTS, ""), (_MORE_FONTS, "")),
    ),
    # Saving. The data source is missing when the command comes from the panel, and the segmentation when it comes from
    # our button. The writer of the SEG sorts the slices by position but not their masks, so a series that is numbered
    # from the feet up would be saved upside down; and it refuses an empty mask, which is a label like any other. Say
    # how it went, and list what the PACS then has: the server writes the object anew.
    Mend(
        "7197.bundle.805c43530f838fa98d40.js",
        "e13dc738ff027ee2e17b263ceb9b9928986ef21e9f587ff2edcbcad424c67272",
        (
            (
                _SEG_IMAGES,
                _SEG_IMAGES.replace("imageIds.map", "window.myotome.inFrameOrder(esm, imageIds.map")[:-1] + ");",
            ),
            (_ALL_SEGMENTS, _ALLOW_EMPTY + _ALL_SEGMENTS),
            (_WRITE, _WRITE.replace("= ", "= window.myotome.writing(servicesManager, () => ")[:-1] + ");"),
            (_ASK_NAME, _FIND_SEGMENTATION + _ASK_NAME),
            (
                _STORE,
                "dataSource = dataSource || extensionManager.getActiveDataSource()[0];\n"
                "      await window.myotome.saving(servicesManager, dataSource, naturalizedReport);\n"
                "      return naturalizedReport;",
            ),
        ),
    ),
    # A double click on a saved segmentation lays it over the images, instead of taking the viewports over. The dialog
    # for saving says what it does.
    Mend(
        "1520.bundle.acba7d34f1203a4b294c.js",
        "783ecf0be547fa68945320c77e8d62b4888a9d0a56e4c8ba901bdd3e5aa1fcfb",
        (
            (_DOUBLE_CLICK, _DOUBLE_CLICK + _LOAD_SAVED),
            ("title: 'Create Report',\n        value: {", "title: 'Save to PACS',\n        value: {"),
            ("Enter the report name", "Name of the new series"),
            # A valid file header: the version is required, and a name has 16 characters at most.
            ("'OHIF-VIEWER-2.0.0'", "'OHIF-VIEWER-3'"),
            (_META_VERSION, _META_VERSION + " ?? new Uint8Array([0, 1]).buffer"),
        ),
    ),
    # Loading a segmentation in which a structure has no voxels: it has no centre.
    Mend(
        "1185.bundle.63d4a7234e943a3bc2ab.js",
        "624859801344278ae628f44ac46c38ddfb52a03ce6b3ecf7df00e8bde0e999b6",
        (
            ("segDisplaySet.centroids.get(index).image ||", "segDisplaySet.centroids.get(index)?.image ||"),
            ("segDisplaySet.centroids.get(index).world ||", "segDisplaySet.centroids.get(index)?.world ||"),
        ),
    ),
    # The MONAI Label mode: the segmentation panel with its tools beside the MONAI panel.
    Mend(
        "2068.bundle.83ad900b6ad2110750da.js",
        "cb1e700c82abfc4fe26b17fc5c56d858e034f8c71c8b41b34d16b10df6a762ad",
        (
            ("rightPanels: [monailabel.monaiLabel]", "rightPanels: [monailabel.monaiLabel, cornerstone.panelTool]"),
            (
                "// toolbarService.addButtons(segmentationButtons);",
                "toolbarService.addButtons(window.myotome.segmentationButtons);",
            ),
            ("'Crosshairs', 'MoreTools']", "'Crosshairs', 'MoreTools', 'SaveSegmentation']"),
        ),
    ),
    # The MONAI Label panel.
    Mend(
        "3933.bundle.92d0a0e9bc7e6861b7c9.js",
        "7844f59159b8eda422079064b0bffa17d2b76aa025b054097ff4ae8bc3b55acd",
        (
            # Its server is where the page came from, and it connects by itself.
            (_FIND_SERVER, "window.location.origin + '/'"),
            ("// await this.onInfo();", "window.myotome.connectWhenReady(this);"),
            (_LOAD_SEGMENTS, "await " + _LOAD_SEGMENTS),
            # Measurements and classification come with the image, in one multipart reply.
            ("result_extension = '.nrrd', output = 'image')", "result_extension = '.nrrd', output = 'all')"),
            (
                _INFER_REPLY,
                _INFER_REPLY.replace("await ", "window.myotome.inferReply(await ")[:-1] + ", model, image);",
            ),
            (_SHOW_DRAFT, "if (response.data) {\n" + _SHOW_DRAFT + "\nwindow.myotome.activate(this.props, '1');\n}"),
            (_IS_SEGMENTATION, _IS_SEGMENTATION.replace("'vista3d'", "'vista3d' " + _OR_CLASSIFIES)),
            # A model's own colours, and none too dark to be seen.
            (
                "color: this.segmentColor(label)",
                "color: window.myotome.colour(response.data, label, this.segmentColor(label))",
            ),
            # The strategy that is chosen is the one that is asked for.
            ("strategy: 'random',", "strategy: window.myotome.firstStrategy(props.info),"),
            ("onChange: this.onChangeStrategy,", "onChange: event => this.setState({ strategy: event.target.value }),"),
            # Our server shows no logs; it has a page of its own.
            ("new URL(this.state.url).toString() + 'logs/?lines=100'", "new URL(this.state.url).toString() + 'status'"),
            ('}, "Logs")', '}, "Status")'),
        ),
    ),
)
"""Everything that is changed in OHIF of monailabel 0.8.5."""


def installed_folder() -> Path:
    """Return the OHIF folder of the installed monailabel, without importing it."""
    spec = find_spec("monailabel")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("monailabel is not installed")
    return Path(spec.origin).parent / "endpoints" / "static" / "ohif"


class BundledOhif:
    """The OHIF viewer of the installed MONAI Label, mended where it is the version we know.

    Parameters
    ----------
    folder : Path or None
        Folder with OHIF's `index.html`; by default that of the installed monailabel.

    Attributes
    ----------
    mended : bool
        Whether the mends are in place. Without them OHIF can show and draft but not save.
    reason : str
        One sentence that says why it is not mended; empty if it is.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or installed_folder()).resolve()
        self.reason = ""
        try:
            self._changed = {mend.file: mend.apply((self.folder / mend.file).read_bytes()) for mend in MENDS}
        except (OSError, ValueError) as error:
            self._changed = {}
            self.reason = f"Saving from OHIF is not possible with this version of MONAI Label: {error}."
            logger.warning(self.reason)
        self._changed["app-config.js"] = (OWN_FOLDER / "app-config.js").read_bytes()

    @property
    def mended(self) -> bool:
        """Whether the mends are in place."""
        return not self.reason

    def read(self, path: str) -> tuple[bytes, str] | None:
        """Return the content and media type of what is at `/ohif/{path}`, or None.

        A path without an extension is a page of the single-page app and gives `index.html`. Paths that leave the
        folder, and files that do not exist, give None.
        """
        name = path.strip("/")
        pure = PurePosixPath(name)
        if "\\" in name or "\0" in name or ".." in pure.parts or name in _NEVER:
            return None
        if not pure.suffix:
            return self._page()
        content = self._changed.get(name)
        if content is None:
            content = self._own(name) if name.startswith(OWN_PREFIX) else _inside(self.folder, name)
        return None if content is None else (content, _media_type(name))

    def _page(self) -> tuple[bytes, str] | None:
        content = self._changed.get("index.html") or _inside(self.folder, "index.html")
        return None if content is None else (content, _MEDIA_TYPES[".html"])

    @staticmethod
    def _own(name: str) -> bytes | None:
        return _inside(OWN_FOLDER, name.removeprefix(OWN_PREFIX))


def _inside(folder: Path, name: str) -> bytes | None:
    """Read a file of the folder; None if there is none, or if links lead out of the folder."""
    try:
        file = (folder / name).resolve()
        return file.read_bytes() if file.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError):
        return None


def _media_type(name: str) -> str:
    return _MEDIA_TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")
