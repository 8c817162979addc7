"""(c) TotalSegmentator's order of work: its functions around nnU-Net's predictor, which holds the comparison's network.

The order is that of `totalsegmentator.nnunet.nnUNet_predict_image` for one model and one multilabel output, with its
default options: read, turn to the closest canonical axes, resample to 1.5 mm (order 1, whole HU), write that for
nnU-Net, predict, read the prediction, remove auxiliary labels, resample the labels back (order 0), undo the canonical
axes, check the geometry, add the names of the labels, write. Removing blobs and computing statistics are done there
only when asked, so not here. nnU-Net works in this process instead of in workers, which spares it their start.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from totalsegmentator.alignment import as_closest_canonical, undo_canonical
from totalsegmentator.libs import check_if_shape_and_affine_identical
from totalsegmentator.nifti_ext_header import add_label_map_to_nifti
from totalsegmentator.postprocessing import remove_auxiliary_labels
from totalsegmentator.resampling import change_spacing

from benchmarks.network import make_network
from benchmarks.nnunet_predictor import PluggedPredictor, open_predictor
from benchmarks.recipe import SPACING_MM
from benchmarks.runner import Segment, make_parser, run_pipeline, thread_count
from benchmarks.stopwatch import Stopwatch

_TASK = "comparison"


def open_totalsegmentator(options: argparse.Namespace, clock: Stopwatch) -> Segment:
    """The predictor inside TotalSegmentator's order of work, ready to segment."""
    network = make_network(options.weights, options.classes)
    predictor = open_predictor(network, options.classes, options.blending, thread_count())
    names = {index: f"class_{index}" for index in range(1, options.classes)}

    def segment(image: Path, output: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="nnunet_tmp_", dir=output.parent) as folder:
            _segment(image, output, Path(folder), predictor, names, clock)

    return segment


def _segment(
    image: Path, output: Path, folder: Path, predictor: PluggedPredictor, names: dict[int, str], clock: Stopwatch
) -> None:
    with clock.stage("load", "read and copy"):
        original = nibabel.load(image)
        copy = nibabel.Nifti1Image(original.get_fdata(), original.affine)
    with clock.stage("preprocess", "as_closest_canonical"):
        canonical = as_closest_canonical(copy)
    with clock.stage("preprocess", "change_spacing"):
        resampled = change_spacing(canonical, [SPACING_MM] * 3, order=1, dtype=np.int32, nr_cpus=1)
    with clock.stage("preprocess", "write for nnU-Net"):
        nibabel.save(resampled, folder / "s01_0000.nii.gz")
    predictor.predict_file(folder / "s01_0000.nii.gz", folder / "s01.nii.gz", clock)
    with clock.stage("postprocess", "remove_auxiliary_labels"):
        labels = remove_auxiliary_labels(nibabel.load(folder / "s01.nii.gz"), _TASK)
    with clock.stage("postprocess", "change_spacing back"):
        shape, affine = canonical.shape, canonical.affine
        labels = change_spacing(
            labels, [SPACING_MM] * 3, shape, order=0, dtype=np.uint8, nr_cpus=1, force_affine=affine
        )
    with clock.stage("postprocess", "undo_canonical"):
        labels = undo_canonical(labels, original)
        check_if_shape_and_affine_identical(original, labels)
        array = labels.get_fdata().astype(np.uint8)
    with clock.stage("save", "label names and write"):
        header = original.header.copy()
        header.set_data_dtype(np.uint8)
        named = add_label_map_to_nifti(nibabel.Nifti1Image(array, labels.affine, header), names)
        nibabel.save(named, output)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--blending", choices=("gaussian", "constant"), default="gaussian")
    run_pipeline(
        parser.parse_args(), open_totalsegmentator, ("totalsegmentator", "nnunetv2", "torch", "numpy", "scipy")
    )
