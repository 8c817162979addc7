"""A GPU: its measured peaks, the networks' rates, and a volume from disk to labels on disk, warm.

`WindowInferer` around the comparison's 3D network, and the respiratory bundle as it is shipped, in each precision.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.network import make_network
from benchmarks.recipe import OVERLAP, ROI, SPACING_MM, WINDOW_HU
from benchmarks.run_roofline import best_rate
from benchmarks.runner import print_line, versions
from myotome.inference import BundleSegmenter, WindowInferer
from myotome.inference.engines import compare_label_maps, open_engine
from myotome.io import read_volume, write_label_map
from myotome.structures import LabelMap, read_label_schema

BUNDLE = "respiratory_muscle_ct_segmentation"
ENGINES = (
    ("eager", "float32"),
    ("cuda_graphs", "float32"),
    ("eager", "float16"),
    ("cuda_graphs", "float16"),
    ("cuda_graphs", "bfloat16"),
)
WINDOWS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True, help="NIfTI image")
    parser.add_argument("--output", type=Path, required=True, help="folder for the label maps")
    parser.add_argument("--weights", type=Path, help="state dict of the comparison's network; untrained without it")
    parser.add_argument("--runs", type=int, default=5, help="timed volumes of each")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each rate is measured")
    parser.add_argument("--inductor", action="store_true", help="also TorchInductor, which compiles for a minute")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    engines = (*ENGINES, ("inductor", "float16")) if options.inductor else ENGINES
    with redirect_stdout(sys.stderr):
        options.output.mkdir(parents=True, exist_ok=True)
        found: dict[str, Any] = {"device": name_device(options.device)}
        network = make_network(options.weights).to(options.device)
        found["peaks TFLOP/s"] = measure_peaks(options.device, options.seconds)
        found["network TFLOP/s"] = measure_networks(network, engines, options.device, options.seconds)
        volumes = {}
        for engine, precision in engines:
            with reported(volumes, f"3D network {engine} {precision}") as row:
                row.update(time_windows(network, engine, precision, options))
        for engine, precision in (("auto", "float32"), ("auto", "float16")):
            with reported(volumes, f"cascade {engine} {precision}") as row:
                row.update(time_cascade(engine, precision, options))
        found["volumes"] = volumes
    print_line(found | {"versions": versions(("torch", "monai", "numpy"))})


@contextmanager
def reported(table: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """A row of a table, which says why where an engine cannot be used."""
    row = table[name] = {}
    try:
        yield row
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
        traceback.print_exc()
    print(name, row, flush=True)


def name_device(device: str) -> str:
    return torch.cuda.get_device_name(device) if device != "cpu" else "cpu"


def wait_for(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def rate(work: Callable[[], Any], tera: float, device: str, seconds: float) -> float:
    """Highest rate in tera per second of work that is queued ten times before it is waited for."""

    def ten() -> None:
        for _ in range(10):
            work()
        wait_for(device)

    ten()
    return best_rate(ten, 10 * tera, seconds)


@torch.inference_mode()
def measure_peaks(device: str, seconds: float) -> dict[str, float]:
    """TFLOP/s (a multiply-add is two) of 3 x 3 x 3 convolutions, channels last, and of a matrix product in half."""
    rates, side, kind = {}, 48, torch.float16 if device != "cpu" else torch.bfloat16
    for channels in (16, 64, 256):
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            layer = nn.Conv3d(channels, channels, 3, padding=1).to(device, kind)
            layer = layer.to(memory_format=torch.channels_last_3d)
            data = torch.rand(WINDOWS, channels, side, side, side, device=device, dtype=kind)
            data = data.contiguous(memory_format=torch.channels_last_3d)
            tera = 2 * channels**2 * 27 * side**3 * WINDOWS / 1e12
            rates[f"conv3d of {channels} channels"] = rate(lambda n=layer, d=data: n(d), tera, device, seconds)
    a, b = (torch.rand(8192, 8192, device=device, dtype=kind) for _ in range(2))
    rates["matrix product"] = rate(lambda: a @ b, 2 * 8192**3 / 1e12, device, seconds)
    return rates


def measure_networks(
    network: nn.Module, engines: tuple[tuple[str, str], ...], device: str, seconds: float
) -> dict[str, Any]:
    """TFLOP/s of the 3D network on eight windows by engine, and how many ms they take."""
    image = torch.rand(WINDOWS, 1, *ROI, device=device)
    tera = count_flops(network, image[:1]) * WINDOWS / 1e12
    table: dict[str, Any] = {}
    for engine, precision in engines:
        with reported(table, f"{engine} {precision}") as row:
            opened = open_engine(engine, network, precision, device)
            row["TFLOP/s"] = rate(lambda e=opened: e.compute(image), tera, device, seconds)
            row["ms"] = round(1e3 * tera / row["TFLOP/s"], 2)
    return table


@torch.inference_mode()
def count_flops(network: nn.Module, image: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        network(image)
    return counter.get_total_flops()


def time_windows(network: nn.Module, engine: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the 3D network's label map, with MONAI's windows and none left out but for air."""
    inferer = WindowInferer(ROI, OVERLAP, "constant", SPACING_MM, WINDOW_HU, engine=engine, precision=precision)
    opened = inferer.open(network)
    facts = {"engine": f"{opened.name} {opened.precision}", "notes": list(inferer.notes)}
    return facts | time_volumes(
        lambda volume: inferer.segment(volume.array, volume.grid.affine, network),
        options,
        f"windows_{engine}_{precision}",
        "windows_eager_float32",
        lambda: inferer.seconds,
    )


def time_cascade(engine: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the respiratory bundle's label map."""
    segmenter = BundleSegmenter(BUNDLE, options.device, engine=engine, precision=precision)
    facts = {"engine": f"{segmenter.engine} {segmenter.precision}", "notes": list(segmenter.notes)}
    return facts | time_volumes(
        lambda volume: segmenter.segment(volume).array,
        options,
        f"cascade_{engine}_{precision}",
        "cascade_auto_float32",
        lambda: getattr(segmenter._inferer, "seconds", {}),
    )


def time_volumes(
    segment: Callable[[Any], np.ndarray],
    options: argparse.Namespace,
    name: str,
    reference: str,
    steps: Callable[[], dict[str, float]],
) -> dict[str, Any]:
    """Median seconds of a warm volume from disk to disk, by stage; with reading and writing beside; and agreement."""
    output = options.output / f"{name}.nii.gz"

    def write(labels: np.ndarray, volume: Any) -> None:
        write_label_map(output, LabelMap(labels, volume.grid, read_label_schema()))

    if options.device != "cpu":
        torch.cuda.reset_peak_memory_stats(options.device)
    laps: dict[str, list[float]] = {"read": [], "segment": [], "write": []}
    for _ in range(options.runs + 1):
        times = [time.perf_counter()]
        volume = read_volume(options.image)
        times.append(time.perf_counter())
        labels = segment(volume)
        times.append(time.perf_counter())
        write(labels, volume)
        times.append(time.perf_counter())
        for stage, begun, ended in zip(laps, times, times[1:], strict=False):
            laps[stage].append(ended - begun)
    totals = [sum(parts) for parts in zip(*laps.values(), strict=True)]
    row: dict[str, Any] = {"first s": round(totals[0], 3), "warm s": round(statistics.median(totals[1:]), 3)}
    row["all s"] = [round(value, 3) for value in totals[1:]]
    row |= {f"{stage} s": round(statistics.median(values[1:]), 3) for stage, values in laps.items()}
    row["steps s"] = {key: round(value, 3) for key, value in steps().items()}
    if "eager" not in name:
        row["in flight s"] = round(time_in_flight(segment, write, options), 3)
    if options.device != "cpu":
        row["GPU GB"] = round(torch.cuda.max_memory_allocated(options.device) / 1e9, 2)
    np.save(options.output / f"{name}.npy", labels)
    if (options.output / f"{reference}.npy").is_file():
        agreement = compare_label_maps(np.load(options.output / f"{reference}.npy"), labels)
        row |= {"equal": round(agreement.equal, 7), "Dice": round(agreement.dice, 6)}
    return row


def time_in_flight(
    segment: Callable[[Any], np.ndarray], write: Callable[[np.ndarray, Any], None], options: argparse.Namespace
) -> float:
    """Seconds per volume where the next is read and the last is written while one is computed."""
    count = options.runs + 1
    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(2) as writers:
        waiting = [readers.submit(read_volume, options.image) for _ in range(2)]
        written = []
        for number in range(count):
            volume = waiting.pop(0).result()
            if number + 2 < count:
                waiting.append(readers.submit(read_volume, options.image))
            written.append(writers.submit(write, segment(volume), volume))
        for job in written:
            job.result()
    return (time.perf_counter() - begun) / count


if __name__ == "__main__":
    main()
