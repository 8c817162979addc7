"""Drafts: a bundle's label map and measurements of one image."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.models import Model
from lib.state import State, measurements_of
from lib.worker import INTERACTIVE, Draft, InferenceWorker, make_draft
from myotome.errors import MyotomeError

__all__ = ["BundleInfer"]

_LONGEST_S = 3600


class BundleInfer(InferTask):
    """A bundle as an inference task; the label map is that of ``myotome analyze``, voxel for voxel.

    A draft is kept by image and weights, and made only once.

    Parameters
    ----------
    worker : makes the inference process when it is first needed
    """

    def __init__(
        self,
        model: Model,
        worker: Callable[[], InferenceWorker],
        engine: str | None = None,
        precision: str | None = None,
    ) -> None:
        kind = model.name.rsplit("_", 1)[-1]
        super().__init__(
            type=kind if kind in ("classification", "detection") else InferType.SEGMENTATION,
            labels={structure.name: structure.index for structure in model.schema.structures},
            dimension=3,
            description=model.metadata["description"],
            config={"result_extension": ".nii.gz", "result_dtype": "uint8"},
        )
        self.model, self._worker = model, worker
        self._choice = {"engine": engine, "precision": precision}
        self._starting = threading.Lock()
        self._under_way: dict[Path, tuple[int, Future]] = {}

    def info(self) -> dict[str, Any]:
        """As MONAI Label's, with the structures' colours for OHIF."""
        colours = {structure.name: list(structure.colour) for structure in self.model.schema.structures}
        return {**super().info(), "label_colors": colours}

    def is_valid(self) -> bool:
        return True

    def get_path(self, validate: bool = True) -> str:
        return str(self.model.champion.root / "models" / "model.pt")

    def draft(self, image_id: str, source: Path, priority: int = INTERACTIVE) -> Future:
        """The reply of `make_draft` for an image, made now, waiting, or kept from before."""
        champion = self.model.champion
        path = self.model.state.draft(self.model.name, champion.weights_sha256, image_id)
        table = measurements_of(path)
        if path.is_file() and table.is_file() and path.stat().st_mtime >= source.stat().st_mtime:
            done: Future = Future()
            done.set_result(json.loads(table.read_text()))
            return done
        job = Draft(source, champion.root, champion.weights_sha256, path, **self._choice)
        with self._starting:
            # Whoever asks for what is being made, or is to be made as soon, waits for the same draft.
            known = self._under_way.get(path)
            if known and not known[1].done() and known[0] <= priority:
                return known[1]
            future = self._worker().submit(make_draft, job, priority=priority, title=f"draft by {self.model.name}")
            self._under_way = {key: row for key, row in self._under_way.items() if not row[1].done()}
            self._under_way[path] = priority, future
            return future

    def draft_path(self, image_id: str) -> Path:
        """Where the champion's draft of an image is, or will be."""
        return self.model.state.draft(self.model.name, self.model.champion.weights_sha256, image_id)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Label map file (the caller's to remove) and reply, for ``image`` (a path) and ``image_id``."""
        source = Path(request["image"])
        image_id = request.get("image_id") or source.name
        waiting = self.draft(image_id, source)
        try:
            reply = waiting.result(timeout=_LONGEST_S)
        except FutureTimeout:
            waiting.cancel()
            raise MyotomeError("the model took over an hour on this image and was given up: see the log.") from None
        return str(_own_copy(self.draft_path(image_id), self.model.state)), reply


def _own_copy(path: Path, state: State) -> Path:
    state.temporary.mkdir(parents=True, exist_ok=True)
    copy = state.temporary / f"{uuid.uuid4().hex}.nii.gz"
    os.link(path, copy)
    return copy
