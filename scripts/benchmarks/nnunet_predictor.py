"""nnU-Net v2's predictor with the comparison's network plugged in, and the plans it needs for that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from benchmarks.recipe import OVERLAP, ROI, SPACING_MM, WINDOW_HU
from benchmarks.stopwatch import Stopwatch

__all__ = ["PluggedPredictor", "open_predictor"]

_CONFIGURATION = "3d_fullres"


@dataclass(frozen=True)
class PluggedPredictor:
    """The order of `nnUNetPredictor.predict_from_files_sequential`, step by step, so that each can be timed."""

    predictor: nnUNetPredictor
    threads: int

    def predict_file(self, image: Path, output: Path, clock: Stopwatch, prefix: str = "nnU-Net") -> None:
        """Segment a NIfTI file into another, with nnU-Net's own reading, resampling, export and writing."""
        inner = self.predictor
        plans, configuration = inner.plans_manager, inner.configuration_manager
        files = plans.image_reader_writer_class()
        with clock.stage("load", f"{prefix} read"):
            data, properties = files.read_images([str(image)])
        with clock.stage("preprocess", f"{prefix} preprocess"):
            preprocessor = configuration.preprocessor_class(verbose=False)
            data, _, properties = preprocessor.run_case_npy(
                data, None, properties, plans, configuration, inner.dataset_json
            )
            data = torch.from_numpy(data).to(dtype=torch.float32, memory_format=torch.contiguous_format)
        with clock.stage("network", f"{prefix} sliding window"):
            logits = inner.predict_logits_from_preprocessed_data(data)
        del data
        with clock.stage("postprocess", f"{prefix} resample logits and argmax"):
            labels = convert_predicted_logits_to_segmentation_with_correct_shape(
                logits, plans, configuration, inner.label_manager, properties, num_threads_torch=self.threads
            )
        with clock.stage("save", f"{prefix} write"):
            files.write_seg(np.asarray(labels), str(output), properties)


def open_predictor(network: nn.Module, classes: int, blending: str, threads: int) -> PluggedPredictor:
    """A predictor for a network that nnU-Net did not train.

    Parameters
    ----------
    blending : ``gaussian`` (nnU-Net's default) or ``constant``
    threads : for torch; nnU-Net also reads ``nnUNet_def_n_proc``
    """
    torch.set_num_threads(threads)
    plans = PlansManager(_plans())
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **{f"class_{index}": index for index in range(1, classes)}},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    predictor = nnUNetPredictor(
        tile_step_size=1 - OVERLAP,
        use_gaussian=blending == "gaussian",
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    configuration = plans.get_configuration(_CONFIGURATION)
    predictor.manual_initialization(
        network, plans, configuration, [network.state_dict()], dataset, "nnUNetTrainer", None
    )
    return PluggedPredictor(predictor, threads)


def _plans() -> dict:
    """Plans with the values nnU-Net's own planner writes, where the comparison's recipe does not set them.

    `CTNormalization` clips to two percentiles, subtracts a mean and divides by an SD: with the window's ends as
    percentiles, its lower end as mean and its width as SD, that is the recipe's scaling to 0..1, exactly. Images are
    resampled by cubic and logits by linear interpolation, as planned by default. The reader turns images to RAS and
    gives the axes as (z, y, x); ``transpose_forward`` gives the network (x, y, z), as the other pipelines do.
    """
    low, high = WINDOW_HU
    intensities = {"mean": low, "std": high - low, "percentile_00_5": low, "percentile_99_5": high}
    intensities |= {"median": low, "min": low, "max": high}
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    name = "resample_data_or_seg_to_shape"
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(ROI),
        "median_image_size_in_voxels": [256.0, 256.0, 220.0],
        "spacing": [SPACING_MM] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": name,
        "resampling_fn_data_kwargs": {**resampling, "order": 3},
        "resampling_fn_seg": name,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": name,
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "architecture": {"network_class_name": "plugged in", "arch_kwargs": {}, "_kw_requires_import": []},
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset001_Comparison",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [SPACING_MM] * 3,
        "original_median_shape_after_transp": [256, 256, 220],
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [2, 1, 0],
        "transpose_backward": [2, 1, 0],
        "configurations": {_CONFIGURATION: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }
