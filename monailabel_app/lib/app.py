"""The app behind the server: every bundle as a model, its training, and the strategies of active learning."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from threading import Event, Thread
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import background_executors, processes

from lib.agreement import Agreements
from lib.datastores import FolderDatastore, MyotomeDatastore
from lib.dicomweb import DicomWebDatastore
from lib.infers import BundleInfer
from lib.models import find_models
from lib.state import State, default_state
from lib.strategies import BackgroundScoring, NextImage
from lib.trainers import BundleTrain
from lib.worker import InferenceWorker
from myotome import __version__
from myotome.active_learning.reservations import Reservations
from myotome.active_learning.strategies import STRATEGIES
from myotome.errors import InputError

__all__ = ["MyotomeApp", "pacs_credentials"]

_LOG = logging.getLogger("myotome.server")
_SYNCHRONISE_S = 10.0


def pacs_credentials() -> tuple[str, str] | None:
    """User and password of the PACS, from the environment."""
    user, password = (os.environ.get(f"MYOTOME_DICOMWEB_{word}") for word in ("USER", "PASSWORD"))
    return (user, password) if user and password else None


class MyotomeApp(MONAILabelApp):
    """Every bundle that has weights, over one datastore.

    ``conf`` may hold: ``state`` (the server's own folder), ``models`` (bundle names, joined by commas), ``engine`` and
    ``precision``, ``strategy`` (the one that is listed first), ``validation_share``, ``tracking`` (an MLflow URI),
    ``scoring`` (``false`` for none in the background). The PACS's user and password are taken from the environment
    (``MYOTOME_DICOMWEB_USER``, ``MYOTOME_DICOMWEB_PASSWORD``), since MONAI Label prints ``conf``.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.state = State(Path(conf.get("state") or default_state(studies)))
        chosen = [name for name in conf.get("models", "").split(",") if name]
        self.models = find_models(self.state, chosen, float(conf.get("validation_share", 0.25)))
        self.reservations = Reservations(self.state.reservations)
        self._worker: InferenceWorker | None = None
        self.scoring: list[BackgroundScoring] = []
        self._closing = Event()
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="Myotome",
            description="Measures muscle, bone and disc; drafts, training and active learning for its bundles",
            version=__version__,
        )
        self.agreements = Agreements(self.datastore())

    def worker(self) -> InferenceWorker:
        """The inference process, started when it is first needed."""
        if self._worker is None:
            self._worker = InferenceWorker()
        return self._worker

    def init_datastore(self) -> MyotomeDatastore:
        schemas = {model.name: model.schema for model in self.models}
        if not self.studies.startswith(("http://", "https://")):
            return FolderDatastore(self.studies, self.state, schemas)
        modalities = sorted({model.modality for model in self.models})
        return DicomWebDatastore(self.studies, self.state, schemas, modalities, pacs_credentials())

    def init_infers(self) -> dict[str, BundleInfer]:
        engine, precision = self.conf.get("engine"), self.conf.get("precision")
        return {model.name: BundleInfer(model, self.worker, engine, precision) for model in self.models}

    def init_trainers(self) -> dict[str, BundleTrain]:
        tracking = self.conf.get("tracking", "")
        return {model.name: BundleTrain(model, tracking) for model in self.models if model.trainable}

    def init_strategies(self) -> dict[str, NextImage]:
        first = self.conf.get("strategy", "foreground_random")
        if first not in STRATEGIES:
            raise InputError(f"there is no strategy '{first}': they are {', '.join(STRATEGIES)}.")
        names = sorted(STRATEGIES, key=lambda name: name != first)
        return {name: NextImage(name, self.models, self.reservations) for name in names}

    def on_init_complete(self) -> None:
        if self.conf.get("scoring", "true") != "false":
            self.scoring = [BackgroundScoring(model, self.datastore(), self.worker()) for model in self.models]
            for scoring in self.scoring:
                scoring.start()
        if isinstance(self.datastore(), DicomWebDatastore):
            Thread(target=self._synchronise, name="pacs", daemon=True).start()

    def _synchronise(self) -> None:
        while not self._closing.wait(_SYNCHRONISE_S):
            try:
                self.datastore().synchronise()
            except Exception as error:  # one odd object in the PACS must not end the exchange
                _LOG.warning("the PACS was not read through (%s): %s", type(error).__name__, error)

    def close(self) -> None:
        """Stop what runs in the background."""
        self._closing.set()
        for scoring in self.scoring:
            scoring.stop()
        if self._worker is not None:
            self._worker.close()
        # A training goes on from its checkpoints when it is started again.
        for executor in background_executors.values():
            executor.shutdown(wait=False, cancel_futures=True)
        if processes("train"):
            AsyncTask.stop("train")

    def model(self, name: str | None) -> Any:
        """A served bundle by name, or ``None``."""
        return next((model for model in self.models if model.name == name), None)

    def model_at(self, image_id: str) -> Any:
        """The bundle that is worked with on an image; the first when nobody works on it yet."""
        return self.model(self.datastore().bundle_at(image_id)) or self.models[0]
