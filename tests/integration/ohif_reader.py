"""A reader at the OHIF viewer, driven in headless Chromium: opens studies, runs models, paints, saves and loads."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, Request, Response, sync_playwright

__all__ = ["OhifReader", "find_chromium"]

_SOFTWARE_WEBGL = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--no-sandbox",
]

_COUNT_VOXELS = """() => {
  const viewport = services.viewportGridService.getActiveViewportId();
  const active = services.segmentationService.getActiveSegmentation(viewport);
  if (!active) { return {}; }
  const count = {};
  for (const id of active.representationData.Labelmap.imageIds) {
    for (const value of cornerstone.cache.getImage(id).getPixelData()) {
      if (value) { count[value] = (count[value] ?? 0) + 1; }
    }
  }
  const named = Object.values(active.segments).filter(Boolean);
  return Object.fromEntries(named.map(segment => [segment.label, count[segment.segmentIndex] ?? 0]));
}"""


_ACTIVE = """() => services.segmentationService.getActiveSegmentation(
  services.viewportGridService.getActiveViewportId())?.segmentationId"""


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return None


class OhifReader:
    """A reader with a browser. Use it as a context manager.

    Parameters
    ----------
    base_url : str
        Where our server listens, such as ``http://127.0.0.1:8000``.
    token : str
        The server's token. The reader signs in with it at ``/login``, as with the link that the server prints.
    reader : str
        The name to sign in with.
    timeout_s : float
        How long any single step may take.

    Attributes
    ----------
    outside_requests : list of str
        Addresses on other hosts that the page asked for. Must stay empty.
    errors : list of str
        Uncaught errors of the page's scripts.
    """

    def __init__(self, base_url: str, token: str, *, reader: str = "reader", timeout_s: float = 180.0) -> None:
        self.base_url = base_url.rstrip("/")
        self.outside_requests: list[str] = []
        self.errors: list[str] = []
        self._playwright = sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(executable_path=find_chromium(), args=_SOFTWARE_WEBGL)
        except Exception:
            self._playwright.stop()
            raise
        context = self._browser.new_context(viewport={"width": 1500, "height": 900})
        self.page: Page = context.new_page()
        self.page.set_default_timeout(timeout_s * 1000)
        self.page.on("request", self._note_request)
        self.page.on("dialog", lambda dialog: dialog.accept())
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

        self.page.goto(f"{self.base_url}/login?{urlencode({'token': token, 'reader': reader, 'next': '/ohif/'})}")

    def __enter__(self) -> OhifReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the browser."""
        self._browser.close()
        self._playwright.stop()

    def open_study_list(self) -> list[str]:
        """Open the list of studies and return the text of each row."""
        self.page.goto(f"{self.base_url}/ohif/")
        self.page.locator("[data-cy='study-list-results']").wait_for()
        rows = self.page.locator(
            "[data-cy='study-list-results'] tr[id='studyListRow'], [data-cy='study-list-results'] tbody"
        )
        rows.first.wait_for()
        return [" ".join(text.split()) for text in rows.all_inner_texts() if text.strip()]

    def open_study(self, study_uid: str) -> None:
        """Open a study in the MONAI Label mode and wait until its images are there and the panel has connected."""
        self.page.goto(f"{self.base_url}/ohif/monai-label?StudyInstanceUIDs={study_uid}")
        self.page.get_by_text("Auto-Segmentation").wait_for()
        self.page.wait_for_function(f"Object.keys(({_COUNT_VOXELS})()).length > 0")
        self._wait_for_images()

    def run_model(self, name: str) -> Response:
        """Choose a model in the panel, click Run and return the server's reply."""
        self._show_panel("monailabel")
        tab = self.page.locator(".tab", has=self.page.locator("button[title='Run Segmentation']"))
        tab.locator("select").select_option(name)
        with self.page.expect_response(lambda reply: "/infer/" in reply.url) as reply:
            tab.locator("button[title='Run Segmentation']").click()
        return reply.value

    def wait_for_overlay(self, pixels: int = 200) -> None:
        """Wait until the mask has voxels and at least this many coloured pixels are seen in the first viewport."""
        self.page.wait_for_function(f"Object.values(({_COUNT_VOXELS})()).some(count => count > 0)")
        for _ in range(60):
            if self.coloured_pixels() >= pixels:
                return
            self.page.wait_for_timeout(1000)
        raise AssertionError(f"only {self.coloured_pixels()} coloured pixels are in the viewport")

    def coloured_pixels(self) -> int:
        """Count the pixels of the first viewport's image that are not grey, as the overlay's are."""
        png = self._viewport().locator("canvas").first.screenshot()
        box = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.int16)
        rows, columns = box.shape[0] // 6, box.shape[1] // 12
        inner = box[rows:-rows, columns:-columns]
        return int((inner.max(axis=2) - inner.min(axis=2) > 40).sum())

    def measurements(self) -> str:
        """Return the text of the box with the measurements."""
        box = self.page.locator("#myotome-box")
        box.wait_for()
        return box.inner_text()

    def close_measurements(self) -> None:
        """Dismiss the box with the measurements, if it is there."""
        if self.page.locator("#myotome-box").count():
            self.page.locator("#myotome-box button[title='Close']").click()

    def segment_names(self) -> list[str]:
        """Return the names in the segmentation panel, top to bottom."""
        self._show_panel("panelSegmentationWithTools")
        rows = self.page.locator("[data-cy='data-row']")
        rows.first.wait_for()
        return [text.split("\n")[-1].strip() for text in rows.all_inner_texts()]

    def voxel_counts(self) -> dict[str, int]:
        """Count the voxels of each segment in the active segmentation, by name."""
        return self.page.evaluate(_COUNT_VOXELS)

    def paint(self, structure: str, dx: float = 30.0, dy: float = 5.0) -> dict[str, int]:
        """Paint a short stroke of a structure in the middle of the first viewport; return the voxel counts after it."""
        before = self.voxel_counts()
        self._show_panel("panelSegmentationWithTools")
        self.page.locator("[data-cy='data-row']", has_text=structure).first.click()
        self.page.locator("[data-cy='Brush']").first.click()
        self.page.wait_for_timeout(1000)
        box = self._viewport().bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + dx, y + dy, steps=5)
        self.page.mouse.up()
        for _ in range(60):
            if self.voxel_counts() != before:
                break
            self.page.wait_for_timeout(500)
        return self.voxel_counts()

    def open_save_dialog(self, name: str) -> None:
        """Click the save button and type the name of the new series."""
        self.page.locator("[data-cy='SaveSegmentation']").first.click()
        self.page.locator("[data-cy='Save-btn']").wait_for()
        self.page.keyboard.type(name)

    def save(self, name: str = "corrected") -> Response:
        """Save the active segmentation to the PACS; return the reply to the STOW request."""
        self.open_save_dialog(name)
        with self.page.expect_response(_is_store) as reply:
            self.page.locator("[data-cy='Save-btn']").click()
        if reply.value.ok:
            self.page.get_by_text("Segmentation saved").first.wait_for()
        return reply.value

    def saved_series(self) -> list[str]:
        """Return the names of the segmentations that the study browser lists."""
        self.page.locator("[data-cy='studyBrowser-panel']").first.wait_for()
        return [" ".join(text.split()) for text in self._saved().all_inner_texts()]

    def load_segmentation(self, name: str = "") -> None:
        """Open a saved segmentation from the study browser, the last one with this name in it."""
        item = self._saved().filter(has_text=name).last
        item.wait_for()
        before = self.page.evaluate(_ACTIVE)
        item.dblclick()
        self.page.wait_for_function(f"before => ({_ACTIVE})() !== before", arg=before)
        self.page.wait_for_function(f"Object.keys(({_COUNT_VOXELS})()).length > 0")

    def screenshot(self, path: str | Path) -> None:
        """Save a picture of the whole page."""
        self.page.screenshot(path=str(path))

    def _viewport(self) -> Locator:
        return self.page.locator("[data-cy='viewport-pane']").first

    def _saved(self) -> Locator:
        return self.page.locator("[data-cy='study-browser-thumbnail-no-image']", has_text="SEG")

    def _show_panel(self, name: str) -> None:
        self.page.locator(f"[data-cy='{name}-btn']").first.click()

    def _wait_for_images(self) -> None:
        loaded = """() => {
          const grid = services.viewportGridService.getState();
          const shown = grid.viewports.get(grid.activeViewportId)?.displaySetInstanceUIDs[0];
          const ids = services.displaySetService.getDisplaySetByUID(shown)?.imageIds ?? [];
          return ids.length > 0 && ids.every(id => cornerstone.cache.getImage(id));
        }"""
        self.page.wait_for_function(loaded)

    def _note_request(self, request: Request) -> None:
        host = urlsplit(request.url)
        if host.scheme in {"http", "https", "ws", "wss"} and host.netloc != urlsplit(self.base_url).netloc:
            self.outside_requests.append(request.url)


def _is_store(reply: Response) -> bool:
    return reply.request.method == "POST" and urlsplit(reply.url).path.rstrip("/").endswith("/studies")
