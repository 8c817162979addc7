"""From Hounsfield units to a label map on the image's own grid, by an engine that was checked against the reference."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np
import torch
from torch import nn

from myotome import __version__
from myotome.inference.engines import (
    PRECISIONS,
    Agreement,
    Engine,
    EngineError,
    artefact_folder,
    compare_label_maps,
    fingerprint,
    open_engine,
    rank_engines,
    require_engine,
)
from myotome.inference.engines.agreement import make_check_image, name_hardware, read_agreement, write_agreement
from myotome.inference.volumes import VolumeInferer

__all__ = ["LabelMapInferer"]

_NETWORKS_KEPT = 2


class LabelMapInferer(VolumeInferer):
    """Takes an image in HU and gives its label map; everything between is done slab by slab.

    Cropping, resampling, windowing and the way back are part of it, so no volume of probabilities is ever held (see
    `VolumeInferer`).

    Parameters
    ----------
    spacing_mm : of the grid the network works on.
    window_hu : HU that are scaled to 0..1, and clipped.
    margin_mm : kept around the body, which the image is cropped to in plane.
    engine : one of `myotome.inference.engines.ENGINES`, or ``"auto"``: the fastest that can run here.
    precision : of the arithmetic, ``"float32"``, ``"bfloat16"`` or ``"float16"``. It is never left to the engine.
    progress : called with the share of the work that is done, 0 to 1.

    Attributes
    ----------
    notes : tuple of str
        Engines that were not used after all, and why.
    seconds : dict of str to float
        Where the time of the last label map went.

    Notes
    -----
    Before an engine is used for a network it labels a small phantom, and so does PyTorch eager in float32 (see
    `myotome.inference.engines.Agreement`). If they differ too much, the next engine is taken, in float32; the last
    is eager itself. What was found is kept with the engine's artefacts, so that the check runs once per machine.
    """

    def __init__(
        self,
        spacing_mm: float,
        window_hu: Sequence[float],
        margin_mm: float = 12.0,
        engine: str = "auto",
        precision: str = "float32",
        progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__()
        if engine != "auto":
            require_engine(engine)
        if precision not in PRECISIONS:
            raise EngineError(f"there is no precision '{precision}': use {', '.join(PRECISIONS)}.")
        self.spacing_mm, self.window_hu, self.margin_mm = spacing_mm, tuple(window_hu), margin_mm
        self.engine, self.precision, self.progress = engine, precision, progress
        self.notes: tuple[str, ...] = ()
        self.seconds: dict[str, float] = {}
        self._engines: dict[str, tuple[Engine, tuple[str, ...]]] = {}
        self._references: dict[str, np.ndarray] = {}

    def segment(self, array: np.ndarray, affine: np.ndarray, network: nn.Module, *masks: np.ndarray) -> np.ndarray:
        """(X, Y, Z) uint8 label map of an (X, Y, Z) image in HU.

        Parameters
        ----------
        affine : (4, 4) voxel indices to patient mm, RAS+.
        masks : further (X, Y, Z) label maps that the network is given with the image.
        """
        engine = self.open(network, len(masks))
        self.seconds = {}
        with _one_torch_thread(engine.has_own_threads):
            return self._run(array, affine, engine, masks)

    def open(self, network: nn.Module, further: int = 0) -> Engine:
        """The engine that runs this network: opened, checked and kept. `notes` says what was refused for it.

        Parameters
        ----------
        further : label maps that the network is given beside the image.
        """
        key = fingerprint(network)
        if key not in self._engines:
            while len(self._engines) >= _NETWORKS_KEPT:
                self._engines.pop(next(iter(self._engines)))
            self._engines[key] = self._choose(network, further)
        engine, self.notes = self._engines[key]
        return engine

    @abstractmethod
    def _run(self, array: np.ndarray, affine: np.ndarray, engine: Engine, masks: Sequence[np.ndarray]) -> np.ndarray:
        """Label map by one engine."""

    @abstractmethod
    def _settings(self) -> str:
        """What the labels depend on besides image, network and engine."""

    def _choose(self, network: nn.Module, further: int) -> tuple[Engine, tuple[str, ...]]:
        device = str(next(network.parameters()).device)
        asked = [self.engine] if self.engine != "auto" else rank_engines(self.precision, device)
        attempts = [(name, self.precision) for name in asked]
        attempts += [(name, "float32") for name in (*rank_engines("float32", device), "eager")]
        notes = [] if asked else [f"no engine here computes in {self.precision}: float32 is used"]
        for name, precision in dict.fromkeys(attempts):
            try:
                engine = open_engine(name, network, precision, device)
                found = self.check(engine, network, further)
            except EngineError as error:
                if name == self.engine:
                    raise
                notes.append(f"the engine {name} in {precision} is not used: {error}")
                continue
            if found.enough_for(engine.precision):
                return engine, tuple(notes)
            notes.append(f"the engine {name} in {precision} is not used, it differs from PyTorch eager: {found}")
        raise EngineError("no engine agrees with PyTorch eager on this machine: reinstall torch.")

    def check(self, engine: Engine, network: nn.Module, further: int = 0) -> Agreement:
        """Agreement of an engine with PyTorch eager in float32 on the check image; measured once per machine."""
        if engine.name == "eager" and engine.precision == "float32":
            return Agreement(1.0, 1.0)
        path = artefact_folder(fingerprint(network)) / "agreement.json"
        hardware = name_hardware(engine.device)
        made = f"{engine.name} {engine.version()} of myotome {__version__}"
        name = f"{made} {engine.precision} on {hardware} | {self._settings()}"
        found = read_agreement(path, name)
        if found is None:
            progress, self.progress = self.progress, None
            try:
                found = self._compare(engine, network, further)
            finally:
                self.progress = progress
            write_agreement(path, name, found)
        return found

    def _compare(self, engine: Engine, network: nn.Module, further: int) -> Agreement:
        array, affine, truth = make_check_image()
        masks, key = [truth] * further, fingerprint(network)
        if key not in self._references:
            eager = open_engine("eager", network, "float32", engine.device)
            self._references = {key: self._run(array, affine, eager, masks)}
        with _one_torch_thread(engine.has_own_threads):
            self._run(array, affine, engine, masks)
            start = perf_counter()
            labels = self._run(array, affine, engine, masks)
        return compare_label_maps(self._references[key], labels, (perf_counter() - start) / array.shape[2])

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        """Count the time of a block for a step, without that of the steps within it."""
        start, before = perf_counter(), sum(self.seconds.values())
        yield
        within = sum(self.seconds.values()) - before
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - start - within

    def _tell(self, share: float) -> None:
        if self.progress:
            self.progress(share)


@contextmanager
def _one_torch_thread(wanted: bool) -> Iterator[None]:
    """Keep PyTorch's small operations from waiting for threads that the engine's own keep busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if wanted else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
