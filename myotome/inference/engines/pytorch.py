"""PyTorch: eager, which is the reference; compiled by TorchInductor; and replayed as CUDA graphs."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from myotome.inference.engines.base import PRECISIONS, Engine

__all__ = ["CudaGraphEngine", "EagerEngine", "InductorEngine"]


class EagerEngine(Engine):
    """PyTorch as it is. In float32 on the CPU it is what every other engine is compared with."""

    name = "eager"
    devices = ("cpu", "cuda")
    precisions = ("float32", "bfloat16", "float16")

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cpu") -> None:
        super().__init__(network, precision, device)
        self.network = self.network.to(device)

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Tensor:
        kind = torch.device(self.device).type
        with torch.autocast(kind, PRECISIONS[self.precision], enabled=self.precision != "float32"):
            return self.network(*(value.to(self.device).float() for value in inputs)).float().cpu()


class InductorEngine(Engine):
    """Compiled by TorchInductor with batch normalisation folded and channels last. Each input shape compiles anew.

    What it compiles, PyTorch keeps in its own cache (``TORCHINDUCTOR_CACHE_DIR``).
    """

    name = "inductor"
    devices = ("cpu", "cuda")
    precisions = ("float32", "bfloat16")

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cpu") -> None:
        super().__init__(network, precision, device)
        network = copy.deepcopy(network).to(device, PRECISIONS[precision])
        self._compiled = torch.compile(network, dynamic=False, options={"freezing": True})

    @classmethod
    def missing(cls, device: str) -> str | None:
        compiler = device != "cpu" or shutil.which("g++") or shutil.which("clang++")
        return super().missing(device) or (None if compiler else "it needs a C++ compiler (g++)")

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Tensor:
        kind = PRECISIONS[self.precision]
        return self._compiled(*(_channels_last(value.to(self.device, kind)) for value in inputs)).float().cpu()


class CudaGraphEngine(Engine):
    """One captured CUDA graph per input shape, channels last, with pinned asynchronous copies both ways."""

    name = "cuda_graphs"
    devices = ("cuda",)
    precisions = ("float32", "float16", "bfloat16")

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cuda") -> None:
        super().__init__(network, precision, device)
        self._network = copy.deepcopy(network).to(device, PRECISIONS[precision])
        self._graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        return next(self.map([inputs]))

    @torch.no_grad()
    def map(self, batches: Iterable[tuple[Tensor, ...]]) -> Iterator[Tensor]:
        """The next batch is queued on the device before the last one's output is waited for."""
        waiting: tuple[Tensor, torch.cuda.Event] | None = None
        for batch in batches:
            graph, places, output = self._graph(batch)
            for place, value in zip(places, batch, strict=True):
                place.copy_(value.pin_memory(), non_blocking=True)
            graph.replay()
            host = torch.empty(output.shape, dtype=torch.float32, pin_memory=True)
            host.copy_(output, non_blocking=True)
            done = torch.cuda.Event()
            done.record()
            if waiting:
                waiting[1].synchronize()
                yield waiting[0]
            waiting = host, done
        if waiting:
            waiting[1].synchronize()
            yield waiting[0]

    def _graph(self, batch: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]:
        key = tuple(tuple(value.shape) for value in batch)
        if key not in self._graphs:
            kind = PRECISIONS[self.precision]
            places = [_channels_last(value.to(self.device, kind)) for value in batch]
            stream = torch.cuda.Stream(self.device)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self._network(*places)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output = self._network(*places)
            self._graphs[key] = graph, places, output
        return self._graphs[key]


def _channels_last(value: Tensor) -> Tensor:
    layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(value.dim())
    return value.contiguous(memory_format=layout) if layout else value
