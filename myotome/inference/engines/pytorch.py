"""PyTorch: eager, which is the reference; compiled by TorchInductor; and replayed as CUDA graphs."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from myotome.inference.engines.base import PRECISIONS, Engine

__all__ = ["CudaGraphEngine", "EagerEngine", "InductorEngine", "fold_batch_norms"]

_GRAPHS_KEPT = 8  # a slice's size follows from the body's box, in steps of 32 pixels
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


class _TorchEngine(Engine):
    """Takes and leaves tensors where the network is: on a GPU nothing has to come back before it is a label."""

    @property
    def resident(self) -> bool:
        return torch.device(self.device).type != "cpu"

    def __call__(self, *inputs: Tensor) -> Tensor:
        return self.compute(*inputs).cpu()


class EagerEngine(_TorchEngine):
    """PyTorch as it is. In float32 it is what every other engine is compared with."""

    name = "eager"
    devices = ("cpu", "cuda")
    precisions = ("float32", "bfloat16", "float16")

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cpu") -> None:
        super().__init__(network, precision, device)
        self.network = self.network.to(device)

    @torch.no_grad()
    def compute(self, *inputs: Tensor) -> Tensor:
        kind = torch.device(self.device).type
        reduced = self.precision != "float32"
        with _convolutions(), torch.autocast(kind, PRECISIONS[self.precision], enabled=reduced):
            return self.network(*(value.to(self.device).float() for value in inputs)).float()


class InductorEngine(_TorchEngine):
    """Compiled by TorchInductor with batch normalisation folded and channels last. Each input shape compiles anew.

    What it compiles, PyTorch keeps in its own cache (``TORCHINDUCTOR_CACHE_DIR``).
    """

    name = "inductor"
    devices = ("cpu", "cuda")
    precisions = ("float32", "bfloat16", "float16")

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cpu") -> None:
        super().__init__(network, precision, device)
        network = copy.deepcopy(network).to(device, PRECISIONS[precision])
        self._compiled = torch.compile(network, dynamic=False, options={"freezing": True})

    @classmethod
    def missing(cls, device: str) -> str | None:
        compiler = device != "cpu" or shutil.which("g++") or shutil.which("clang++")
        return super().missing(device) or (None if compiler else "it needs a C++ compiler (g++)")

    @torch.no_grad()
    def compute(self, *inputs: Tensor) -> Tensor:
        kind = PRECISIONS[self.precision]
        with _convolutions():
            return self._compiled(*(_channels_last(value.to(self.device, kind)) for value in inputs)).float()


class CudaGraphEngine(_TorchEngine):
    """One captured CUDA graph per input shape, channels last, batch normalisation folded into the convolutions."""

    name = "cuda_graphs"
    devices = ("cuda",)
    precisions = ("float32", "float16", "bfloat16")

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cuda") -> None:
        super().__init__(network, precision, device)
        folded = fold_batch_norms(copy.deepcopy(network)).to(device, PRECISIONS[precision])
        self._network = _channels_last_weights(folded)
        self._graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]] = {}

    @torch.no_grad()
    def compute(self, *inputs: Tensor) -> Tensor:
        graph, places, output = self._graph(inputs)
        for place, value in zip(places, inputs, strict=True):
            place.copy_(value, non_blocking=True)
        graph.replay()
        return output

    def _graph(self, batch: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]:
        key = tuple(tuple(value.shape) for value in batch)
        if key not in self._graphs:
            while len(self._graphs) >= _GRAPHS_KEPT:
                self._graphs.pop(next(iter(self._graphs)))
            kind = PRECISIONS[self.precision]
            places = [_channels_last(value.to(self.device, kind)) for value in batch]
            stream = torch.cuda.Stream(self.device)
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream), _convolutions(tried=True):
                for _ in range(3):
                    self._network(*places)
            torch.cuda.current_stream(self.device).wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream), _convolutions(tried=True):
                output = self._network(*places).float()
            self._graphs[key] = graph, places, output
        return self._graphs[key]


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Put each batch normalisation that follows a convolution in an :class:`torch.nn.Sequential` into its weights.

    The network is changed and returned. In evaluation mode it computes the same, but for rounding, with one pass over
    memory less per layer.
    """
    for holder in list(network.modules()):
        if isinstance(holder, nn.Sequential):
            chain = list(_chain(holder))
            for (owner, name, first), (norm_owner, norm_name, norm) in pairwise(chain):
                if isinstance(first, nn.modules.conv._ConvNd) and isinstance(norm, nn.modules.batchnorm._BatchNorm):
                    turned = isinstance(first, nn.modules.conv._ConvTransposeNd)
                    setattr(owner, name, fuse_conv_bn_eval(first, norm, transpose=turned))
                    setattr(norm_owner, norm_name, nn.Identity())
    return network


def _chain(sequence: nn.Sequential) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """The layers of nested sequences in the order in which they run, each with its owner and its name there."""
    for name, child in sequence.named_children():
        if isinstance(child, nn.Sequential):
            yield from _chain(child)
        else:
            yield sequence, name, child


@contextmanager
def _convolutions(tried: bool = False) -> Iterator[None]:
    """float32 stays float32 on a GPU, where cuDNN would multiply in TF32; ``tried`` picks algorithms by trying them."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=tried, deterministic=False, allow_tf32=False):
        yield


def _channels_last(value: Tensor) -> Tensor:
    layout = _LAYOUTS.get(value.dim())
    return value.contiguous(memory_format=layout) if layout else value


def _channels_last_weights(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        parameter.data = _channels_last(parameter.data)
    return network
