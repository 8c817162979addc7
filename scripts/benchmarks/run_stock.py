"""(a) The stock zoo pipeline: MONAI's transforms and `SlidingWindowInferer`, as in `spleen_ct_segmentation`.

Differences from that bundle, all in its favour here: the label map is saved as uint8 instead of float32, and nothing is
resampled on saving.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    SaveImaged,
    ScaleIntensityRanged,
    Spacingd,
)

from benchmarks.network import make_network
from benchmarks.recipe import OVERLAP, ROI, SPACING_MM, WINDOW_HU
from benchmarks.runner import Segment, make_parser, run_pipeline, thread_count
from benchmarks.stopwatch import Stopwatch


def open_stock(options: argparse.Namespace, clock: Stopwatch) -> Segment:
    """The pipeline, ready to segment."""
    torch.set_num_threads(thread_count())
    network = make_network(options.weights, options.classes)
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(SPACING_MM,) * 3, mode="bilinear"),
            ScaleIntensityRanged("image", *WINDOW_HU, b_min=0.0, b_max=1.0, clip=True),
        ]
    )
    inferer = SlidingWindowInferer(ROI, sw_batch_size=options.batch, overlap=OVERLAP, mode=options.blending)
    after = [
        Activationsd("pred", softmax=True),
        Invertd("pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True),
        AsDiscreted("pred", argmax=True),
    ]

    @torch.no_grad()
    def segment(image: Path, output: Path) -> None:
        data: dict[str, str | MetaTensor] = {"image": str(image)}
        for index, transform in enumerate(before.transforms):
            name = type(transform).__name__
            with clock.stage("load" if index == 0 else "preprocess", name):
                data = transform(data)
        with clock.stage("network", "SlidingWindowInferer"):
            data["pred"] = inferer(data["image"][None], network)[0]
        for transform in after:
            with clock.stage("postprocess", type(transform).__name__):
                data = transform(data)
        with clock.stage("save", "SaveImaged"):
            _save(data, image, output)

    return segment


def _save(data: dict, image: Path, output: Path) -> None:
    save = SaveImaged(
        "pred",
        output_dir=str(output.parent),
        output_postfix="stock",
        output_ext=".nii.gz",
        output_dtype=np.uint8,
        separate_folder=False,
        resample=False,
        print_log=False,
    )
    save(data)
    stem = image.name.removesuffix(".gz").removesuffix(".nii")
    (output.parent / f"{stem}_stock.nii.gz").replace(output)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--batch", type=int, default=1, help="windows per call of the network")
    parser.add_argument("--blending", choices=("constant", "gaussian"), default="constant")
    run_pipeline(parser.parse_args(), open_stock, ("torch", "monai", "numpy", "nibabel"))
