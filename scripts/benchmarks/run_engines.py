"""One engine in one precision: milliseconds per call of a network, time to open, and agreement with PyTorch in float32.

``window`` is the comparison's 3D network on one 96 x 96 x 96 window, ``slice`` the bundle's whole cascade on four
slices.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.network import make_network
from benchmarks.recipe import ROI, WINDOW_HU
from benchmarks.runner import print_line, thread_count, versions
from benchmarks.stopwatch import Stopwatch
from myotome.inference.engines import compare_label_maps, open_engine
from myotome.io import read_volume
from myotome.networks import RespiratoryCascade, read_weights
from myotome.resources import bundle_root

SLICES = 4
BATCHES = 4  # in a row, as a volume's are: OpenVINO keeps two under way


def make_case(kind: str, image: Path, weights: Path | None, bundle: str) -> tuple[nn.Module, Tensor, int]:
    """Network, an input from the middle of an image, and how many windows or slices that is."""
    low, high = WINDOW_HU
    array = np.clip((read_volume(image).array.astype(np.float32) - low) / (high - low), 0, 1)
    if kind == "window":
        return make_network(weights), torch.from_numpy(_middle(array, ROI))[None, None], 1
    network = read_weights(RespiratoryCascade(), bundle_root(bundle) / "models" / "model.pt").eval()
    sides = [min(size // 32 * 32, most) for size, most in zip(array.shape, (448, 320), strict=False)]
    planes = np.moveaxis(_middle(array, (*sides, SLICES + 2)), 2, 0)
    return network, torch.from_numpy(np.stack([planes[i : i + 3] for i in range(SLICES)])), SLICES


def _middle(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    starts = [max(0, (size - wanted) // 2) for size, wanted in zip(array.shape, shape, strict=True)]
    part = array[tuple(slice(start, start + wanted) for start, wanted in zip(starts, shape, strict=True))]
    short = [(0, wanted - size) for size, wanted in zip(part.shape, shape, strict=True)]
    return np.ascontiguousarray(np.pad(part, short))


def agreement(found: Tensor, reference: Tensor) -> dict[str, float]:
    """Share of equal labels, Dice of all foreground labels together, and the largest difference of the outputs."""
    labels = compare_label_maps(reference.argmax(1).numpy(), found.argmax(1).numpy())
    return {
        "equal": labels.equal,
        "pooled": labels.dice,
        "largest_difference": float((found.float() - reference.float()).abs().max()),
    }


@torch.inference_mode()
def time_engine(options: argparse.Namespace) -> dict:
    """Open, warm up, and call for the asked time."""
    network, tensor, units = make_case(options.network, options.image, options.weights, options.bundle)
    reference = network(tensor)
    with FlopCounterMode(display=False) as counter:
        network(tensor)
    clock = Stopwatch()
    clock.start()
    with clock.stage("open"):
        engine = open_engine(options.engine, network, precision=options.precision, device="cpu")
    with clock.stage("first call"):
        output = engine(tensor)
    engine(tensor)
    taken: list[float] = []
    end = time.perf_counter() + options.seconds
    while len(taken) < 3 or time.perf_counter() < end:
        begun = time.perf_counter()
        for _ in engine.map([(tensor,)] * BATCHES):
            pass
        taken.append((time.perf_counter() - begun) / BATCHES / units)
    gflop = counter.get_total_flops() / units / 1e9
    return clock.stop() | {
        "ms": round(1000 * float(np.median(taken)), 3),
        "ms_best": round(1000 * min(taken), 3),
        "calls": BATCHES * len(taken),
        "input": list(tensor.shape),
        "gflop": round(gflop, 3),
        "gflop_per_s": round(gflop / float(np.median(taken)), 1),
        **agreement(torch.as_tensor(output), reference),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True, help="NIfTI image to cut an input from")
    parser.add_argument("--network", choices=("window", "slice"), required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--weights", type=Path, help="state dict of the 3D network; untrained without it")
    parser.add_argument("--bundle", default="respiratory_muscle_ct_segmentation")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long to go on calling")
    options = parser.parse_args()
    torch.set_num_threads(thread_count())
    with redirect_stdout(sys.stderr):
        line = time_engine(options)
    print_line({**line, "threads": thread_count(), "versions": versions(("torch", "openvino", "onnxruntime"))})
