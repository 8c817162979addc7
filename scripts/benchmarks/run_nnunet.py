"""(b) nnU-Net v2: its reading, preprocessing, `nnUNetPredictor`, export and writing, around the comparison's network.

Everything stays in this process, as in `predict_from_files_sequential`: no worker processes to start and feed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.network import make_network
from benchmarks.nnunet_predictor import open_predictor
from benchmarks.runner import Segment, make_parser, run_pipeline, thread_count
from benchmarks.stopwatch import Stopwatch


def open_nnunet(options: argparse.Namespace, clock: Stopwatch) -> Segment:
    """The predictor, ready to segment."""
    network = make_network(options.weights, options.classes)
    predictor = open_predictor(network, options.classes, options.blending, thread_count())

    def segment(image: Path, output: Path) -> None:
        predictor.predict_file(image, output, clock)

    return segment


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--blending", choices=("gaussian", "constant"), default="gaussian")
    run_pipeline(parser.parse_args(), open_nnunet, ("nnunetv2", "torch", "numpy", "scikit-image", "nibabel"))
