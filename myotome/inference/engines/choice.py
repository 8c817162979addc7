"""Which engines there are, and which to try first."""

from __future__ import annotations

import torch
from torch import nn

from myotome.inference.engines.base import Engine, EngineError
from myotome.inference.engines.exported import OnnxRuntimeEngine, OpenVinoEngine, TensorRtEngine
from myotome.inference.engines.pytorch import CudaGraphEngine, EagerEngine, InductorEngine

__all__ = ["ENGINES", "open_engine", "rank_engines", "require_engine"]

ENGINES: dict[str, type[Engine]] = {
    engine.name: engine
    for engine in (EagerEngine, InductorEngine, OpenVinoEngine, OnnxRuntimeEngine, TensorRtEngine, CudaGraphEngine)
}

# Fastest first, as measured (docs/performance.md, "Engines" and "A GPU"). TorchInductor is not among them: it compiles
# for most of a minute at every new image size on a CPU, for 20 s on a GPU, where it is then a fifth faster.
_ORDER = {
    ("cpu", "float32"): ("openvino", "onnxruntime", "eager"),
    ("cpu", "bfloat16"): ("openvino", "eager"),
    ("cuda", "float32"): ("cuda_graphs", "eager"),
    ("cuda", "float16"): ("cuda_graphs", "tensorrt", "eager"),
    ("cuda", "bfloat16"): ("cuda_graphs", "eager"),
}


def rank_engines(precision: str = "float32", device: str = "cpu") -> list[str]:
    """Names of the engines that can run here in a precision, fastest first."""
    kind = torch.device(device).type
    names = _ORDER.get((kind, precision), ())
    return [name for name in names if ENGINES[name].missing(kind) is None]


def require_engine(name: str) -> None:
    """Raise an `EngineError` when there is no engine of this name."""
    if name not in ENGINES:
        raise EngineError(f"there is no engine '{name}': use auto, {', '.join(ENGINES)}.")


def open_engine(name: str, network: nn.Module, precision: str = "float32", device: str = "cpu") -> Engine:
    """Make a network ready to run.

    Parameters
    ----------
    name : one of `ENGINES`.
    network : it is put into evaluation mode.
    precision : ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    device : ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...

    Raises
    ------
    EngineError
        When there is no such engine, or it cannot run here in that precision.
    """
    require_engine(name)
    try:
        torch.device(device)
    except RuntimeError as error:
        raise EngineError(f"there is no device '{device}': use cpu or cuda.") from error
    return ENGINES[name](network, precision, device)
