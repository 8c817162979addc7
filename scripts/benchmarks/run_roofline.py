"""What this processor can do through the same libraries: arithmetic in float32 and bfloat16, and memory traffic."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout, suppress

import torch
from torch import nn

from benchmarks.runner import print_line, thread_count, versions
from benchmarks.stopwatch import Stopwatch

MATRIX = 4096
CHANNELS, SIDE, LAYERS = 64, 48, 4
UNDER_WAY = 4  # volumes given to OpenVINO in a row, which computes one on each core
COPIED_MB = 512


def best_rate(work: Callable[[], object], amount: float, seconds: float) -> float:
    """Highest amount per second among repeated calls: a peak, so the best and not the median."""
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return round(amount / best, 1)


@torch.inference_mode()
def measure_peaks(seconds: float) -> dict[str, float]:
    """GFLOP/s (a multiply-add is two) by library, operation and precision, and GB/s of a copy (read and written)."""
    rates: dict[str, float] = {}
    convolutions = nn.Sequential(*[nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(LAYERS)]).eval()
    volume = torch.rand(1, CHANNELS, SIDE, SIDE, SIDE)
    in_convolutions = LAYERS * 2 * CHANNELS**2 * 27 * SIDE**3 / 1e9
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.rand(MATRIX, MATRIX).to(kind) for _ in range(2))
        rates[f"torch matmul {precision}"] = best_rate(lambda a=a, b=b: a @ b, 2 * MATRIX**3 / 1e9, seconds)
        network = nn.Sequential(*[nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(LAYERS)]).eval()
        network = network.to(kind).to(memory_format=torch.channels_last_3d)
        data = volume.to(kind).to(memory_format=torch.channels_last_3d)
        rates[f"torch conv3d {precision}"] = best_rate(lambda n=network, d=data: n(d), in_convolutions, seconds)
        with suppress(ImportError):
            from myotome.inference.engines import open_engine

            engine = open_engine("openvino", convolutions, precision=precision, device="cpu")
            rates[f"openvino conv3d {precision}"] = best_rate(
                lambda e=engine: list(e.map([(volume,)] * UNDER_WAY)), UNDER_WAY * in_convolutions, seconds
            )
    source = torch.rand(COPIED_MB * 2**18)
    target = torch.empty_like(source)
    rates["copy GB/s"] = best_rate(lambda: target.copy_(source), 2 * COPIED_MB * 2**20 / 1e9, seconds)
    return rates


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long to repeat each")
    options = parser.parse_args()
    torch.set_num_threads(thread_count())
    clock = Stopwatch()
    clock.start()
    with redirect_stdout(sys.stderr):
        rates = measure_peaks(options.seconds)
    print_line({**clock.stop(), "rates": rates, "versions": versions(("torch", "openvino"))})
