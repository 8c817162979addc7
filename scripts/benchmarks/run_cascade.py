"""The whole cascade, DICOM folder to all outputs, or its first network alone, on the same series and engine."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.runner import print_line, thread_count, versions
from benchmarks.stopwatch import Stopwatch
from myotome.inference import BundleSegmenter, SliceInferer
from myotome.io import read_volume, write_label_map
from myotome.networks import RespiratoryCascade, read_weights
from myotome.pipeline import AnalysisRequest, analyze
from myotome.resources import bundle_root
from myotome.structures import LabelMap, read_label_schema

_STAGE_OF_STEP = {"reading": "load", "segmenting": "network", "measuring": "measure", "writing": "save"}


class FirstStage(nn.Module):
    """The cascade's first network, giving all muscle as the first of the cascade's labels."""

    def __init__(self, cascade: nn.Module) -> None:
        super().__init__()
        self.muscle_tissue = cascade.muscle_tissue

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) image to (B, 5, H, W) probabilities, of which the last three are 0."""
        muscle = self.muscle_tissue(image).sigmoid()
        none = torch.zeros_like(muscle)
        return torch.cat((1 - muscle, muscle, none, none, none), dim=1)


def open_whole(options: argparse.Namespace, clock: Stopwatch) -> Callable[[], None]:
    """`myotome analyze`, timed by the steps it reports; the steps within are those of its inferer."""
    segmenter = BundleSegmenter(options.bundle, engine=options.engine, precision=options.precision)
    clock.facts |= {"engine": f"{segmenter.engine} {segmenter.precision}", "notes": list(segmenter.notes)}

    def run() -> None:
        now: list[tuple[str, float]] = []

        def hear(step: str, share: float) -> None:
            if not now or now[-1][0] != step:
                now.append((step, time.perf_counter()))

        shutil.rmtree(options.output, ignore_errors=True)
        analyze(AnalysisRequest(options.image, options.output), segmenter, hear)
        ends = [begun for _, begun in now[1:]] + [time.perf_counter()]
        for (step, begun), end in zip(now, ends, strict=True):
            clock.seconds[_STAGE_OF_STEP.get(step, step)] = end - begun
        clock.steps |= getattr(getattr(segmenter, "_inferer", None), "seconds", {})

    return run


def open_first_stage(options: argparse.Namespace, clock: Stopwatch) -> Callable[[], None]:
    """Read, run the first network over the body, and write its label map (1 is any muscle)."""
    weights = bundle_root(options.bundle) / "models" / "model.pt"
    network = FirstStage(read_weights(RespiratoryCascade(), weights)).eval()
    inferer = SliceInferer(engine=options.engine, precision=options.precision)
    engine = inferer.open(network)
    clock.facts |= {"engine": f"{engine.name} {engine.version()} {engine.precision}", "notes": list(inferer.notes)}

    def run() -> None:
        with clock.stage("load"):
            volume = read_volume(options.image)
        with clock.stage("network"):
            labels = inferer.segment(volume.array, volume.grid.affine, network)
        with clock.stage("save"):
            label_map = LabelMap(labels, volume.grid, read_label_schema())
            write_label_map(options.output.with_suffix(".nii.gz"), label_map)
        clock.steps |= inferer.seconds

    return run


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True, help="DICOM folder")
    parser.add_argument("--output", type=Path, required=True, help="folder for the outputs")
    parser.add_argument("--bundle", default="respiratory_muscle_ct_segmentation")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--only-first-stage", action="store_true")
    options = parser.parse_args()
    clock = Stopwatch()
    clock.start()
    with redirect_stdout(sys.stderr):
        with clock.stage("open"):
            run = (open_first_stage if options.only_first_stage else open_whole)(options, clock)
        with clock.lap():
            run()
        line = clock.stop()
    libraries = versions(("torch", "openvino", "onnxruntime", "monai", "numpy"))
    print_line({**line, "threads": thread_count(), "versions": libraries})
