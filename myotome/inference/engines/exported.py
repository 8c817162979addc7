"""Engines that run a network from its ONNX form: OpenVINO and ONNX Runtime (CPU, CUDA, TensorRT)."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from myotome.inference.engines.base import Engine, EngineError, artefact_folder, fingerprint
from myotome.networks import replace_file

__all__ = ["OnnxRuntimeEngine", "OpenVinoEngine", "TensorRtEngine"]

_CONVOLUTION_SETTINGS = ("strides", "pads_begin", "pads_end", "dilations", "auto_pad")
_SHAPES_KEPT = 2  # compiled networks held at once: a body crop has one shape, its last batch at most another


class _ExportedEngine(Engine):
    """Exports the network when it sees the first inputs, once per weights: batch and spatial sizes stay open."""

    has_own_threads = True

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cpu") -> None:
        super().__init__(network, precision, device)
        self._folder = artefact_folder(fingerprint(network))

    def _exported(self, inputs: tuple[Tensor, ...]) -> Path:
        channels = "_".join(str(value.shape[1]) for value in inputs)
        path = self._folder / f"network_{channels}_torch{torch.__version__}.onnx"
        if not path.is_file():
            try:
                with replace_file(path) as unfinished:
                    _export(self.network, inputs, unfinished)
            except Exception as error:
                reason = str(error).strip().partition("\n")[0]
                raise EngineError(f"the network cannot be exported for the engine '{self.name}' ({reason}).") from error
        return path


def _export(network: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    """The TorchScript exporter: seconds, where the newer one takes the better part of a minute."""
    names = [f"input{index}" for index in range(len(inputs))]
    sizes = {0: "batch"} | {axis: f"size{axis}" for axis in range(2, inputs[0].dim())}
    example = tuple(torch.zeros(1, value.shape[1], *(64,) * (value.dim() - 2)) for value in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            copy.deepcopy(network).cpu(),
            example,
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=names,
            output_names=["output"],
            dynamic_axes=dict.fromkeys((*names, "output"), sizes),
        )


class OpenVinoEngine(_ExportedEngine):
    """OpenVINO with a fixed shape per compiled network and as many batches under way as it has streams (two at most).

    Left to itself OpenVINO computes in bfloat16 where the processor can; here the precision is always the one asked
    for, and a processor that cannot is an error.
    """

    name = "openvino"
    precisions = ("float32", "bfloat16")

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cpu") -> None:
        super().__init__(network, precision, device)
        import openvino

        self._core = openvino.Core()
        self._requests: dict[tuple, list[Any]] = {}
        if precision != "float32" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError("this processor does not compute in bfloat16: use --precision float32.")

    @classmethod
    def missing(cls, device: str) -> str | None:
        return super().missing(device) or _not_installed("openvino") or _not_installed("onnx")

    @classmethod
    def version(cls) -> str:
        return version("openvino")

    def __call__(self, *inputs: Tensor) -> Tensor:
        return next(self.map([inputs]))

    def map(self, batches: Iterable[tuple[Tensor, ...]]) -> Iterator[Tensor]:
        """The next batches compute while the caller works on the last output."""
        waiting: deque = deque()
        try:
            for turn, batch in enumerate(batches):
                requests = self._compiled(batch)
                if len(waiting) == len(requests):
                    yield _finish(*waiting.popleft())
                request = requests[turn % len(requests)]
                arrays = [np.ascontiguousarray(value.float().numpy()) for value in batch]
                request.start_async(dict(enumerate(arrays)), share_inputs=True)
                waiting.append((request, arrays))
            while waiting:
                yield _finish(*waiting.popleft())
        finally:
            for request, _ in waiting:
                request.wait()

    def _compiled(self, inputs: tuple[Tensor, ...]) -> list[Any]:
        shapes = tuple(tuple(value.shape) for value in inputs)
        if shapes not in self._requests:
            model = self._core.read_model(self._exported(inputs))
            model.reshape(dict(enumerate(shapes)))
            if self.precision == "float32":  # in bfloat16 it saves nothing
                _divide_convolutions(model)
            streams = min(2, self.threads)
            settings = {
                "INFERENCE_PRECISION_HINT": "f32" if self.precision == "float32" else "bf16",
                "INFERENCE_NUM_THREADS": self.threads,
                "NUM_STREAMS": streams,
            }
            compiled = self._core.compile_model(model, "CPU", settings)
            while len(self._requests) >= _SHAPES_KEPT:
                self._requests.pop(next(iter(self._requests)))
            self._requests[shapes] = [compiled.create_infer_request() for _ in range(streams)]
        return self._requests[shapes]


def _divide_convolutions(model: Any) -> None:
    """Make each convolution of concatenated channels the sum of convolutions of the parts, changing the model.

    Up to rounding it is the same. The concatenation, the largest tensor of a U-Net's decoder, is then never made.
    """
    from openvino import opset13

    for layer in [node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"]:
        joined, weights = (layer.input_value(index).get_node() for index in (0, 1))
        if joined.get_type_name() != "Concat" or joined.get_attributes()["axis"] != 1:
            continue
        if weights.get_type_name() != "Constant":
            continue
        settings = [layer.get_attributes()[name] for name in _CONVOLUTION_SETTINGS]
        parts = joined.input_values()
        ends = np.cumsum([part.get_partial_shape()[1].get_length() for part in parts])
        divided = np.split(weights.get_data(), ends[:-1], axis=1)
        convolved = (
            opset13.convolution(part, opset13.constant(np.ascontiguousarray(kernel)), *settings)
            for part, kernel in zip(parts, divided, strict=True)
        )
        layer.output(0).replace(reduce(opset13.add, convolved).output(0))


def _finish(request: Any, arrays: list[np.ndarray]) -> Tensor:
    """The output of a request, and a copy of it: the request will be used again. ``arrays`` were its inputs."""
    request.wait()
    return torch.from_numpy(np.array(request.get_output_tensor(0).data))


class OnnxRuntimeEngine(_ExportedEngine):
    """ONNX Runtime with its own kernels, or on a GPU with CUDA's."""

    name = "onnxruntime"
    devices = ("cpu", "cuda")
    providers: ClassVar[dict[str, str]] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cpu") -> None:
        super().__init__(network, precision, device)
        self._session: Any = None

    @classmethod
    def missing(cls, device: str) -> str | None:
        missing = super().missing(device) or _not_installed("onnxruntime") or _not_installed("onnx")
        if missing is None:
            import onnxruntime

            if cls.providers[device] not in onnxruntime.get_available_providers():
                missing = f"this build of onnxruntime has no {cls.providers[device]}"
        return missing

    @classmethod
    def version(cls) -> str:
        return version("onnxruntime")

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.log_severity_level = 3
            place = torch.device(self.device)
            provider = (self.providers[place.type], self._provider_options(place))
            self._session = onnxruntime.InferenceSession(self._exported(inputs), options, providers=[provider])
        names = [entry.name for entry in self._session.get_inputs()]
        feeds = {name: value.float().numpy() for name, value in zip(names, inputs, strict=True)}
        return torch.from_numpy(self._session.run(None, feeds)[0])

    def _provider_options(self, place: torch.device) -> dict[str, Any]:
        return {} if place.type == "cpu" else {"device_id": place.index or 0}


class TensorRtEngine(OnnxRuntimeEngine):
    """NVIDIA's TensorRT through ONNX Runtime; its engines are cached beside the exported network."""

    name = "tensorrt"
    devices = ("cuda",)
    precisions = ("float32", "float16")
    providers: ClassVar[dict[str, str]] = {"cuda": "TensorrtExecutionProvider"}

    def _provider_options(self, place: torch.device) -> dict[str, Any]:
        return super()._provider_options(place) | {
            "trt_fp16_enable": self.precision == "float16",
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(self._folder),
        }


def _not_installed(module: str) -> str | None:
    return None if importlib.util.find_spec(module) else f"{module} is not installed"
