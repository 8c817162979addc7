"""Which image a reader gets next: the package's strategies over the images that nobody has labelled or reserved."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.strategy import Strategy as LabelStrategy

from lib.datastores import MyotomeDatastore
from lib.models import Model
from lib.worker import SCORING, Draft, InferenceWorker, make_scores
from myotome.active_learning import strategies
from myotome.active_learning.reservations import Reservation, Reservations
from myotome.active_learning.strategies import Candidate
from myotome.errors import InputError, MyotomeError
from myotome.inference.uncertainty import CaseScores

__all__ = ["BackgroundScoring", "NextImage", "SampleRequest", "read_scores"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleRequest:
    """Who asks, for which model, and whether for an image that another reader has labelled (a second reading).

    A client that names no model gets the one in use, and no image that has a label of any model.
    """

    reader: str
    model: Model
    schema: str | None
    second_reading: bool = False


def read_scores(model: Model, weights_sha256: str, image_id: str) -> CaseScores | None:
    """What weights say of an image; ``None`` until it is computed."""
    try:
        return CaseScores.from_json(model.state.scores(model.name, weights_sha256, image_id).read_text())
    except (FileNotFoundError, InputError):
        return None


class NextImage(LabelStrategy):
    """One of `myotome.active_learning.strategies.STRATEGIES`, for MONAI Label; what it gives is reserved."""

    def __init__(self, name: str, models: Sequence[Model], reservations: Reservations) -> None:
        self.strategy = strategies.STRATEGIES[name]
        super().__init__(self.strategy.description)
        self.models, self.reservations = {model.name: model for model in models}, reservations

    def __call__(self, request: dict[str, Any], datastore: MyotomeDatastore) -> dict[str, Any]:
        """The id of the image chosen, or ``{}`` when none is left."""
        reader = str(request.get("reader") or request.get("client_id") or "unknown")
        named = self.models.get(str(request.get("model")))
        model = named or self.models.get(str(datastore.bundle_in_use())) or next(iter(self.models.values()))
        schema = named.schema.name if named else None
        wanted = SampleRequest(reader, model, schema, request.get("double_reading") is True)
        chosen = self.reservations.take(lambda held: self._choose(datastore, wanted, held))
        return {"id": chosen.image_id, "second_reading": chosen.second_reading} if chosen else {}

    def _choose(
        self, datastore: MyotomeDatastore, wanted: SampleRequest, held: dict[str, Reservation]
    ) -> Reservation | None:
        schema = wanted.schema
        labelled = datastore.labelled(schema)
        if wanted.second_reading:
            readers = {image: set(datastore.annotations.by_reader(image, schema)) for image in labelled}
            pool = [image for image, names in sorted(readers.items()) if len(names) == 1 and wanted.reader not in names]
        else:
            pool = [image for image in datastore.list_images() if image not in labelled]
        # What the reader holds is asked away by asking for the next.
        pool = [image for image in pool if image not in held]
        if not pool:
            return None
        # The draw depends on what is labelled, so that a restarted server asks for the same image.
        seed = zlib.crc32(repr((self.strategy.name, sorted(labelled), sorted(held))).encode())
        weights = wanted.model.champion.weights_sha256
        candidates, known = (
            [Candidate(image, read_scores(wanted.model, weights, image), image) for image in ids]
            for ids in (pool, sorted(labelled))
        )
        image = self.strategy.choose(candidates, known, np.random.default_rng(seed), 1)[0]
        newest = datastore.annotations.newest(image, schema)
        parent = newest.version if newest else None
        return Reservation(image, wanted.reader, 0.0, self.strategy.name, wanted.second_reading, parent)


class BackgroundScoring:
    """Scores unlabelled images by the champion when the model is idle; resumes after a restart.

    Parameters
    ----------
    pause_s : between two looks for images without scores
    """

    def __init__(
        self, model: Model, datastore: MyotomeDatastore, worker: InferenceWorker, pause_s: float = 5.0
    ) -> None:
        self.model, self.datastore, self.worker, self.pause_s = model, datastore, worker, pause_s
        self.failed: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def todo(self) -> list[str]:
        """Unlabelled images without the champion's scores."""
        sha = self.model.champion.weights_sha256
        labelled = self.datastore.labelled(self.model.schema.name)
        left = [image for image in self.datastore.list_images() if image not in labelled and image not in self.failed]
        return [image for image in left if not self.model.state.scores(self.model.name, sha, image).is_file()]

    def _run(self) -> None:
        while not self._stop.wait(self.pause_s):
            try:
                for image in self.todo():
                    if self._stop.is_set():
                        return
                    self._score(image)
            except MyotomeError as error:
                _LOG.warning("scoring waits: %s", error)

    def _score(self, image: str) -> None:
        champion = self.model.champion
        output = self.model.state.scores(self.model.name, champion.weights_sha256, image)
        job = Draft(self.datastore.source(image), champion.root, champion.weights_sha256, output)
        try:
            self.worker.submit(make_scores, job, priority=SCORING, title="scoring").result()
        except Exception as error:  # whatever is wrong with one image, the others are scored
            self.failed[image] = str(error)
            _LOG.warning("an image cannot be scored (%s): %s", type(error).__name__, error)
