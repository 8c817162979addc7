"""Inference in a process of its own: the server answers while it runs, and outlives it when it dies."""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from lib.state import measurements_of
from myotome.errors import MyotomeError
from myotome.processes import die_with_parent

__all__ = ["INTERACTIVE", "SCORING", "SOON", "Draft", "InferenceWorker", "WorkerBusy", "make_draft", "make_scores"]

_LOG = logging.getLogger(__name__)
INTERACTIVE, SOON, SCORING = 0, 1, 2
_MOST_WAITING = 64
_SCORED_SLICES = 24
_KEPT_MODELS = 2
_models: OrderedDict[tuple, Any] = OrderedDict()


class WorkerBusy(MyotomeError):
    """Too many requests wait for the model."""


@dataclass(frozen=True)
class Draft:
    """What to segment, by which bundle folder, and where the label map goes (its measurements beside it)."""

    source: Path
    bundle: Path
    weights_sha256: str
    output: Path
    engine: str | None = None
    precision: str | None = None


def make_draft(job: Draft) -> dict[str, Any]:
    """Segment and measure one image: the numbers and the label map of ``myotome analyze``.

    Returns
    -------
    dict : ``label_names`` (structures that are present, and their numbers), ``measurements`` (rows), ``flags``,
        ``provenance``, ``latencies`` (s)
    """
    from myotome.io import read_volume, write_label_map
    from myotome.io.atomic import atomic_path
    from myotome.io.tables import make_rows
    from myotome.pipeline import kind_of, measure_label_map

    table = measurements_of(job.output)
    segmenter = _model(job)
    kind = kind_of(segmenter.schema)
    begun = perf_counter()
    volume = read_volume(job.source, **kind.reading)
    kind.require_image(volume)
    read = perf_counter()
    label_map = segmenter.segment(volume)
    segmented = perf_counter()
    result = measure_label_map(volume, label_map, segmenter=segmenter, source=job.source)
    write_label_map(job.output, label_map)
    rows = make_rows(result, volume)
    present = {row["structure"] for row in rows if row["value"] is not None}
    reply = {
        # Clients name segments by their order, so only those that are present may be listed.
        "label_names": {s.name: s.index for s in label_map.schema.structures if s.name in present},
        "measurements": rows,
        "flags": list(result.flags),
        "provenance": {
            "bundle": result.provenance.bundle,
            "bundle_version": result.provenance.bundle_version,
            "weights_sha256": result.provenance.weights_sha256,
            "engine": result.provenance.engine,
            "precision": result.provenance.precision,
            "notes": list(result.provenance.notes),
        },
        "latencies": {
            "pre": round(read - begun, 2),
            "infer": round(segmented - read, 2),
            "total": round(perf_counter() - begun, 2),
        },
    }
    with atomic_path(table) as temporary:
        temporary.write_text(json.dumps(reply))
    return reply


def make_scores(job: Draft) -> None:
    """How uncertain a model is of one image, from its probabilities; written to ``job.output``."""
    from myotome.inference.uncertainty import score_probabilities
    from myotome.io import read_volume
    from myotome.io.atomic import atomic_path
    from myotome.pipeline import kind_of

    segmenter = _model(job)
    kind = kind_of(segmenter.schema)
    volume = read_volume(job.source, **kind.reading)
    names = [structure.name for structure in segmenter.schema.structures]
    scores = score_probabilities(segmenter.iter_probabilities(volume, _SCORED_SLICES), names)
    with atomic_path(job.output) as temporary:
        temporary.write_text(scores.to_json())


def _model(job: Draft) -> Any:
    from myotome.inference import BundleSegmenter

    key = (str(job.bundle), job.weights_sha256, job.engine, job.precision)
    if key not in _models:
        _models[key] = BundleSegmenter(job.bundle, "auto", engine=job.engine, precision=job.precision)
        while len(_models) > _KEPT_MODELS:
            _models.popitem(last=False)
    _models.move_to_end(key)
    return _models[key]


def _start(niceness: int) -> None:
    die_with_parent()
    os.nice(niceness)


class InferenceWorker:
    """One process that runs jobs one by one, most urgent first; made anew when it dies.

    Parameters
    ----------
    niceness : added to the process's, so that the server's own threads come first
    """

    def __init__(self, niceness: int = 5) -> None:
        self._niceness = niceness
        self._jobs: queue.PriorityQueue = queue.PriorityQueue()
        self._count = itertools.count()
        self._pool: ProcessPoolExecutor | None = None
        self.running: str | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return self._jobs.qsize()

    def _readers_waiting(self) -> int:
        with self._jobs.mutex:
            return sum(job[0] == INTERACTIVE for job in self._jobs.queue)

    def submit(self, function: Callable, *arguments: Any, priority: int = INTERACTIVE, title: str = "") -> Future:
        """Run ``function(*arguments)`` in the worker; both must be picklable.

        Raises
        ------
        WorkerBusy
            When too many readers wait already.
        """
        if priority == INTERACTIVE and self._readers_waiting() >= _MOST_WAITING:
            raise WorkerBusy(f"{_MOST_WAITING} readers wait for the model: try again in a minute.")
        future: Future = Future()
        self._jobs.put((priority, next(self._count), future, title, function, arguments))
        return future

    def close(self) -> None:
        """Stop; what is under way is not waited for."""
        self._closed = True
        if self._pool is not None:
            for process in list(self._pool._processes.values()):
                process.terminate()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        while not self._closed:
            _, _, future, title, function, arguments = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            self.running = title or function.__name__
            try:
                future.set_result(self._run(function, arguments))
            except BaseException as error:
                future.set_exception(error)
            finally:
                self.running = None

    def _run(self, function: Callable, arguments: tuple) -> Any:
        for attempt in (1, 2):
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    1, mp_context=get_context("spawn"), initializer=_start, initargs=(self._niceness,)
                )
            try:
                return self._pool.submit(function, *arguments).result()
            except BrokenProcessPool:
                self._pool = None
                if self._closed:
                    raise MyotomeError("the server is stopping.") from None
                if attempt == 2:
                    raise MyotomeError(
                        "the inference process died twice on this image (too little memory?): see the server's log."
                    ) from None
                _LOG.warning("the inference process died; a new one is started")
        return None
