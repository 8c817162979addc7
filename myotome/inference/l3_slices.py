"""Muscle and fat in the slice through L3: which slice that is, or why none is measured, and its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.networks.utils import eval_mode
from torch import nn

from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.inference.spine_logits import compute_spine_logits
from myotome.inference.volumes import KeepsRefusal, require_axial_grid
from myotome.measurement import Level
from myotome.networks import (
    L3MuscleSegmenter,
    LevelEvidence,
    LevelNetwork,
    decode_sequence,
    locate_level,
    read_weights,
)
from myotome.structures import LabelMap
from myotome.transforms import SpineProjections, WorkingPlane, fit_spacing_mm, project_spine

__all__ = ["CONFIDENCE_FLOOR", "L3Inferer", "LevelFinder", "decide_level", "find_level", "take_l3_plane"]

CONFIDENCE_FLOOR = 0.95
"""Least probability that the place has; chosen on validation phantoms, see docs/results.md."""

_MOST_RIVAL = 0.5  # of the confidence: another place that is half as probable may be the true one
_WINDOW_HU = (-150.0, 250.0)
_SPACING_MM, _SIZE = 1.0, 448
_NAME_IT = "name the slice by --slice, or give a mask of the vertebrae by --vertebrae"


def take_l3_plane(
    array: np.ndarray, affine: np.ndarray, spacing_mm: float = _SPACING_MM, size: int = _SIZE
) -> WorkingPlane:
    """The working grid of an axial CT's slices: a square about the image's middle that shows the whole body.

    Parameters
    ----------
    array : (X, Y, Z) in HU, axes in any order
    affine : (4, 4) voxel indices to patient mm, RAS+
    spacing_mm : of a body that fits; a wider one is seen with larger pixels
    """
    fitted = fit_spacing_mm(array, affine, spacing_mm, size)
    return WorkingPlane(array.shape, affine, fitted, size, "axial", _WINDOW_HU)


class LevelFinder:
    """Finds the middle of L3 in CT volumes, or refuses to.

    Parameters
    ----------
    weights : ``model.pt`` of the bundle.
    floor : least confidence.

    Raises
    ------
    BundleError
        When there are no such weights, or they are of another network.
    """

    def __init__(self, weights: Path | str, floor: float = CONFIDENCE_FLOOR) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = read_weights(L3MuscleSegmenter(), weights).to(self.device).eval().level
        self._floor = floor

    def find(self, volume: Volume) -> Level:
        """The slice through the middle of L3.

        Raises
        ------
        InputError
            When L3 is not in the field of view, two places may be L3, the confidence is below the floor, or the slices
            are not axial.
        """
        return find_level(volume.array, volume.grid.affine, self._network, self._floor)


def find_level(array: np.ndarray, affine: np.ndarray, network: LevelNetwork, floor: float = CONFIDENCE_FLOOR) -> Level:
    """The slice through the middle of L3 in an (X, Y, Z) image in HU; see `LevelFinder.find`."""
    grid = require_axial_grid(array.shape, affine)
    axis = grid.axis("IS")
    if grid.shape[axis] == 1:
        return Level(0, grid.slice_z_mm(0), None, "the image is this one slice, which is taken to be L3")
    seen = project_spine(array, affine)
    return decide_level(locate_level(decode_sequence(compute_spine_logits(network, seen)), "L3"), seen, grid, floor)


def decide_level(evidence: LevelEvidence, seen: SpineProjections, grid: Grid, floor: float = CONFIDENCE_FLOOR) -> Level:
    """The slice that the evidence speaks for.

    Raises
    ------
    InputError
        As `LevelFinder.find`.
    """
    if evidence.absent >= evidence.confidence:
        raise InputError(
            f"the middle of L3 is not in this scan (probability {evidence.absent:.2f}): give a scan that shows it, or "
            f"{_NAME_IT}."
        )
    z_mm = seen.z_mm(evidence.position)
    if evidence.rival > _MOST_RIVAL * evidence.confidence:
        raise InputError(
            f"two vertebrae may be L3 (at z {z_mm:.0f} mm with probability {evidence.confidence:.2f}, elsewhere with "
            f"{evidence.rival:.2f}): {_NAME_IT}."
        )
    if evidence.confidence < floor:
        raise InputError(
            f"L3 is not found surely enough (at z {z_mm:.0f} mm with probability {evidence.confidence:.2f}, at least "
            f"{floor:.2f} is asked for): {_NAME_IT}."
        )
    heights = [grid.slice_z_mm(index) for index in range(grid.shape[grid.axis("IS")])]
    index = int(np.abs(np.array(heights) - z_mm).argmin())
    return Level(index, heights[index], round(evidence.confidence, 4), f"found at z {z_mm:.1f} mm by the spine's shape")


class L3Inferer(KeepsRefusal):
    """Takes an abdominal CT, one axial slice or many, and labels muscle and fat at L3.

    Labels are 0 outside the slices that are measured. Where L3 is not found, the MONAI call labels nothing and says why
    in the log, so that the next image gets its turn; `segment` raises instead. A slice that comes alone is taken to be
    L3.

    Parameters
    ----------
    spacing_mm, size : of the network's square working grid.
    level_slice : the slice to label, along the image's own inferior-superior axis, from 0; found when ``None``.
    average : label the two neighbours as well.
    floor : least confidence of a level that is found.
    progress : called with the share of the work that is done, 0 to 1.

    Attributes
    ----------
    level : Level or None
        Where the last label map was drawn; ``None`` before the first, and after a refusal.
    refusal : str
        Why the last image has no label; empty when it has.
    """

    def __init__(
        self,
        spacing_mm: float = _SPACING_MM,
        size: int = _SIZE,
        level_slice: int | None = None,
        average: bool = False,
        floor: float = CONFIDENCE_FLOOR,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__()
        self.spacing_mm, self.size, self.floor, self.progress = spacing_mm, size, floor, progress
        self.level_slice, self.average = level_slice, average
        self.level: Level | None = None

    def segment(self, array: np.ndarray, affine: np.ndarray, network: nn.Module, *masks: np.ndarray) -> np.ndarray:
        """(X, Y, Z) uint8 label map of an (X, Y, Z) image in HU; see `segment_level`."""
        return self.segment_level(array, affine, network, self.level_slice, self.average)

    def segment_level(
        self,
        array: np.ndarray,
        affine: np.ndarray,
        network: L3MuscleSegmenter,
        level_slice: int | None = None,
        average: bool = False,
    ) -> np.ndarray:
        """(X, Y, Z) uint8 label map of an (X, Y, Z) image in HU: of the level's slice and, averaged, its neighbours.

        Raises
        ------
        InputError
            When the level is to be found and is not (`LevelFinder.find`), the slice is outside the image, or the slices
            are not axial.
        """
        self.level = None
        grid = require_axial_grid(array.shape, affine)
        axis = grid.axis("IS")
        depth = grid.shape[axis]
        if level_slice is None:
            level = find_level(array, affine, network.level, self.floor)
        elif not 0 <= level_slice < depth:
            raise InputError(f"slice {level_slice} is outside the image: its slices are 0 to {depth - 1}.")
        else:
            level = Level(level_slice, grid.slice_z_mm(level_slice), None, "given by hand")
        reach = 1 if average else 0
        chosen = range(max(0, level.slice_index - reach), min(depth, level.slice_index + reach + 1))
        labels = np.zeros(array.shape, np.uint8)
        for done, (index, plane, probabilities) in enumerate(self._slices(array, affine, network, chosen), start=1):
            plane.put(labels, index, plane.restore_labels(probabilities))
            if self.progress:
                self.progress(done / len(chosen))
        self.level = level
        return labels

    def locate(self, volume: Volume, label_map: LabelMap) -> Level | None:
        """Which slice is the level, as it was found in this volume; ``None`` where nothing is labelled there."""
        level, axis = self.level, volume.grid.axis("IS")
        if level is None or level.slice_index >= volume.grid.shape[axis]:
            return None
        return level if np.take(label_map.array, level.slice_index, axis).any() else None

    def iter_probabilities(
        self, array: np.ndarray, affine: np.ndarray, network: L3MuscleSegmenter, slices: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Probabilities at the level, one slice at a time, and the slices; evenly spread ones where it is not found.

        Returns
        -------
        iterator of ((5, size, size) float32 probabilities, (size, size) float32 HU within the window)
        """
        depth = array.shape[require_axial_grid(array.shape, affine).axis("IS")]
        try:
            middle = find_level(array, affine, network.level, self.floor).slice_index
            chosen = [index for index in range(middle - 1, middle + 2) if 0 <= index < depth][:slices]
        except InputError:
            chosen = np.unique(np.linspace(0, depth - 1, min(slices, depth)).round().astype(int)).tolist()
        low, high = _WINDOW_HU
        for index, plane, probabilities in self._slices(array, affine, network, chosen):
            yield probabilities, low + (high - low) * plane.take_scaled(array, index)

    def _slices(
        self, array: np.ndarray, affine: np.ndarray, network: L3MuscleSegmenter, chosen: Sequence[int]
    ) -> Iterator[tuple[int, WorkingPlane, np.ndarray]]:
        """Each slice's index, its way to the working grid and back, and its (5, size, size) probabilities."""
        axis = Grid(array.shape, affine).axis("IS")
        device = next(network.parameters()).device
        for index in chosen:
            alone = np.take(array, [index], axis)
            plane = take_l3_plane(alone, affine, self.spacing_mm, self.size)
            whole = WorkingPlane(array.shape, affine, plane.spacing_mm, self.size, "axial", _WINDOW_HU)
            image = torch.from_numpy(plane.take_scaled(alone, 0))[None, None]
            with eval_mode(network):
                probabilities = network(image.to(device))[0].float().cpu().numpy()
            yield index, whole, probabilities
