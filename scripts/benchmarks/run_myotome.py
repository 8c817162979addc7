"""Ours: `WindowInferer` around the comparison's network, from a NIfTI file to a label map in a NIfTI file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from torch import nn

from benchmarks.network import make_network
from benchmarks.recipe import OVERLAP, ROI, SPACING_MM, WINDOW_HU
from benchmarks.runner import Segment, make_parser, run_pipeline
from benchmarks.stopwatch import Stopwatch
from myotome.geometry import Grid
from myotome.inference import WindowInferer
from myotome.inference.engines import Agreement, Engine
from myotome.io import read_volume, write_label_map
from myotome.structures import Code, LabelMap, LabelSchema, Structure


def open_myotome(options: argparse.Namespace, clock: Stopwatch) -> Segment:
    """The inferer, its engine opened and checked, ready to segment. The stages in between are those it reports."""
    network = make_network(options.weights, options.classes)
    inferer = (_Unchecked if options.unchecked else WindowInferer)(
        roi_size=ROI,
        overlap=options.overlap,
        blending=options.blending,
        spacing_mm=SPACING_MM,
        window_hu=WINDOW_HU,
        engine=options.engine,
        precision=options.precision,
        crop_body=options.crop_body,
        skip_empty=options.skip_empty,
    )
    schema = _schema(options.classes)
    engine = inferer.open(network)
    clock.facts |= {"engine": f"{engine.name} {engine.version()} {engine.precision}", "notes": list(inferer.notes)}

    def segment(image: Path, output: Path) -> None:
        with clock.stage("load"):
            volume = read_volume(image)
        begun = time.perf_counter()
        labels = inferer.segment(volume.array, volume.grid.affine, network)
        clock.add(inferer.seconds, time.perf_counter() - begun)
        with clock.stage("save"):
            write_label_map(output, LabelMap(labels, Grid(labels.shape, volume.grid.affine), schema))

    return segment


class _Unchecked(WindowInferer):
    """Uses the engine whatever the check says: how fast a precision would be that is refused."""

    def check(self, engine: Engine, network: nn.Module, further: int = 0) -> Agreement:
        return Agreement(1.0, 1.0)


def _schema(classes: int) -> LabelSchema:
    code = Code("85756007", "SCT", "Tissue")
    return LabelSchema(
        "comparison",
        tuple(Structure(i, f"class_{i}", f"Class {i}", code, code, (255, 0, 0)) for i in range(1, classes)),
    )


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--unchecked", action="store_true", help="use an engine that disagrees with PyTorch eager, too")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--overlap", type=float, default=OVERLAP)
    parser.add_argument("--blending", choices=("constant", "gaussian"), default="constant")
    parser.add_argument("--crop-body", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--skip-empty", action=argparse.BooleanOptionalAction, default=False)
    run_pipeline(parser.parse_args(), open_myotome, ("torch", "openvino", "onnxruntime", "monai", "numpy"))
