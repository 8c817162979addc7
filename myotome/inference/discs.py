"""Lumbar discs of an MR: found slice by slice, put together across sagittal slices, and named."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.networks.utils import eval_mode
from torch import Tensor, nn

from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.inference.disc_levels import LEVEL_FLOOR, NO_LEVEL, DiscLevels, name_levels
from myotome.inference.disc_tracks import SliceDisc, link_discs
from myotome.inference.volumes import VolumeInferer
from myotome.measurement import Instance
from myotome.networks import LumbarDiscSegmenter, paste_masks, read_weights
from myotome.structures import LabelMap, read_label_schema
from myotome.transforms import WorkingPlane, find_view

__all__ = ["DiscFinder", "DiscInferer"]

_LOG = logging.getLogger(__name__)
_SCHEMA = "lumbar_disc_mr"
_SPACING_MM, _SIZE = 0.75, 384
_EVEN, _SMALLEST = 32, 128
_BATCH = 2
_SHOWN_INTENSITY = 100.0


@dataclass(frozen=True, eq=False)
class _Disc:
    """A disc of the volume: its label, and what was found of it in each slice."""

    label: int
    slices: tuple[SliceDisc, ...]


class DiscInferer(VolumeInferer):
    """Takes a lumbar MR of sagittal or axial slices and labels its discs.

    Sagittal: what overlaps in neighbouring slices is one disc; the five lowest discs from L5-S1 upwards have labels 1
    (L1-L2) to 5 (L5-S1), others are left out. Where no disc is surely L5-S1, all have label 6. Axial: of each slice the
    surest disc, label 6. The MONAI call labels nothing where the slices are coronal, and says so in the log.

    Parameters
    ----------
    spacing_mm : of the network's square working grid.
    size : of the square.
    fit : put a smaller field on a smaller square.
    least_score : of a disc in a slice.
    confidence : least probability of the disc that is taken for L5-S1.
    progress : called with the share of the work that is done, 0 to 1.

    Attributes
    ----------
    instances : tuple of Instance
        The discs of the last label map.
    reason : str
        How the last discs were named, or why none is labelled.
    """

    def __init__(
        self,
        spacing_mm: float = _SPACING_MM,
        size: int = _SIZE,
        fit: bool = True,
        least_score: float = 0.5,
        confidence: float = LEVEL_FLOOR,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__()
        self.spacing_mm, self.size, self.fit, self.progress = spacing_mm, size, fit, progress
        self.least_score, self.confidence = least_score, confidence
        self.instances: tuple[Instance, ...] = ()
        self.reason = ""
        self._grid: Grid | None = None

    def __call__(self, inputs: Tensor, network: nn.Module, *args: object, **kwargs: object) -> Tensor:
        """(1, 1, X, Y, Z) uint8 label map of a (1, 1, X, Y, Z) image whose ``affine`` is RAS+ mm."""
        try:
            return super().__call__(inputs, network)
        except InputError as error:
            self.reason = str(error)
            _LOG.warning("nothing is labelled: %s", error)
            return torch.zeros_like(inputs, dtype=torch.uint8)

    def segment(
        self, array: np.ndarray, affine: np.ndarray, network: LumbarDiscSegmenter, *masks: np.ndarray
    ) -> np.ndarray:
        """(X, Y, Z) uint8 label map of an (X, Y, Z) image.

        Parameters
        ----------
        affine : (4, 4) voxel indices to patient mm, RAS+.

        Raises
        ------
        GeometryError
            When the slices are coronal.
        """
        self.instances, self.reason, self._grid = (), "", None
        grid = Grid(array.shape, affine)
        found = self.detect(array, affine, network, self.least_score)
        axial = find_view(array.shape, affine) == "axial"
        discs, self.reason = _choose_axial(found) if axial else _choose_sagittal(found, grid, self.confidence)
        labels = np.zeros(array.shape, np.uint8)
        across = grid.slice_axis("LR")
        for piece, label in sorted(
            ((piece, disc.label) for disc in discs for piece in disc.slices), key=lambda pair: pair[0].score
        ):
            plane = labels[(slice(None),) * across + (piece.slice_index,)]
            plane[piece.region][piece.mask] = label
        self.instances = tuple(_describe(disc, across) for disc in discs)
        self._grid = grid
        return labels

    def detect(
        self, array: np.ndarray, affine: np.ndarray, network: LumbarDiscSegmenter, least_score: float = 0.05
    ) -> list[SliceDisc]:
        """Every disc of every slice by itself, unsure ones too, from the first slice on and by falling score.

        Parameters
        ----------
        least_score : the network's own is 0.05.

        Raises
        ------
        GeometryError
            When the slices are coronal.
        """
        plane, axial = self._plane(array.shape, affine), find_view(array.shape, affine) == "axial"
        found = []
        for start in range(0, plane.slice_count, _BATCH):
            indices = range(start, min(start + _BATCH, plane.slice_count))
            found += self._detect_batch(array, plane, indices, network, (axial, least_score))
            if self.progress:
                self.progress(indices[-1] / plane.slice_count + 1 / plane.slice_count)
        return found

    def find_instances(self, volume: Volume, label_map: LabelMap) -> tuple[Instance, ...]:
        """The discs that were found when this volume was segmented last, less those that are no longer labelled."""
        if self._grid is None or not self._grid.same_as(volume.grid):
            return ()
        schema = label_map.schema
        return tuple(
            instance
            for instance in self.instances
            if (label_map.array[instance.region] == schema[instance.structure].index).any()
        )

    def iter_probabilities(
        self, array: np.ndarray, affine: np.ndarray, network: LumbarDiscSegmenter, slices: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Probabilities of evenly spread slices, one at a time, and the slices themselves.

        Returns
        -------
        iterator of ((7, size, size) float32 probabilities, (size, size) float32 intensities from 0 to 100)
        """
        plane = self._plane(array.shape, affine)
        chosen = np.unique(np.linspace(0, plane.slice_count - 1, min(slices, plane.slice_count)).round().astype(int))
        device = next(network.parameters()).device
        for index in chosen:
            image = _take(array, plane, [int(index)])
            with eval_mode(network):
                probabilities = network(image.to(device))[0].float().cpu().numpy()
            yield probabilities, _SHOWN_INTENSITY * image[0, 0].numpy()

    def _plane(self, shape: tuple[int, ...], affine: np.ndarray) -> WorkingPlane:
        """The working grid; where it is to fit, no larger than the slices need."""
        view = find_view(shape, affine)
        if not self.fit:
            return WorkingPlane(shape, affine, self.spacing_mm, self.size, view)
        plane = WorkingPlane(shape, affine, self.spacing_mm, _SMALLEST, view)
        steps = Grid(tuple(shape), affine).spacing_mm
        field_px = max(shape[axis] * steps[axis] for axis in plane.axes) / self.spacing_mm
        size = min(self.size, max(_SMALLEST, _EVEN * math.ceil(round(field_px, 3) / _EVEN)))
        return WorkingPlane(shape, affine, self.spacing_mm, size, view)

    @staticmethod
    def _detect_batch(
        array: np.ndarray,
        plane: WorkingPlane,
        indices: Sequence[int],
        network: LumbarDiscSegmenter,
        wanted: tuple[bool, float],
    ) -> Iterator[SliceDisc]:
        axial, least_score = wanted
        device = next(network.parameters()).device
        with eval_mode(network):
            _, found = network.detector(_take(array, plane, indices).to(device))
        for index, item in zip(indices, found, strict=True):
            discs = network.settle(item, axial)
            sure = discs["scores"] >= least_score
            drawn = paste_masks(discs["masks"][sure], discs["boxes"][sure], plane.size, plane.size)
            restored = plane.restore(drawn[:, 0].float().cpu().numpy()) if len(drawn) else np.zeros((0, 1, 1))
            figures = (discs[name][sure].double().cpu().tolist() for name in ("scores", "lumbosacral"))
            for mask, score, share in zip(restored >= 0.5, *figures, strict=True):
                own = mask if plane.axes[0] < plane.axes[1] else mask.T
                if own.any():
                    yield SliceDisc.cut(index, score, share, own)


class DiscFinder:
    """A disc segmenter with its weights, for files of weights that are no bundle's.

    Parameters
    ----------
    weights : ``model.pt`` of the bundle, or of one training of it.
    backbone : that the weights are of, one of :data:`myotome.networks.BACKBONES`.
    settings : further arguments of `DiscInferer`.

    Raises
    ------
    BundleError
        When there are no such weights, or they are of another network.
    """

    def __init__(self, weights: Path | str, backbone: str = "mobile", **settings: float) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = read_weights(LumbarDiscSegmenter(backbone), weights).to(device).eval()
        self._inferer = DiscInferer(**settings)
        self.schema = read_label_schema(_SCHEMA)

    @property
    def reason(self) -> str:
        """How the last discs were named, or why none is labelled."""
        return self._inferer.reason

    def segment(self, volume: Volume) -> LabelMap:
        """Label map of a volume, on the volume's own grid; see `DiscInferer.segment`."""
        return LabelMap(
            self._inferer.segment(volume.array, volume.grid.affine, self._network), volume.grid, self.schema
        )

    def find_instances(self, volume: Volume, label_map: LabelMap) -> tuple[Instance, ...]:
        """See `DiscInferer.find_instances`."""
        return self._inferer.find_instances(volume, label_map)

    def detect_slices(self, volume: Volume, least_score: float = 0.05) -> tuple[SliceDisc, ...]:
        """See `DiscInferer.detect`."""
        return tuple(self._inferer.detect(volume.array, volume.grid.affine, self._network, least_score))


def _take(array: np.ndarray, plane: WorkingPlane, indices: Sequence[int]) -> Tensor:
    """(B, 1, size, size) slices on the working grid, scaled."""
    return torch.from_numpy(np.stack([plane.take_scaled(array, index) for index in indices])[:, None])


def _choose_axial(found: Sequence[SliceDisc]) -> tuple[list[_Disc], str]:
    """Of each slice the surest disc."""
    best: dict[int, SliceDisc] = {}
    for piece in found:
        if piece.slice_index not in best or piece.score > best[piece.slice_index].score:
            best[piece.slice_index] = piece
    reason = "axial slices do not show which disc it is" if best else "no disc is found"
    return [_Disc(NO_LEVEL, (piece,)) for piece in best.values()], reason


def _choose_sagittal(found: Sequence[SliceDisc], grid: Grid, floor: float) -> tuple[list[_Disc], str]:
    """The discs of the volume, named; what has no name of the five is left out."""
    tracks = link_discs(found, grid)
    levels: DiscLevels = name_levels(
        np.array([track.place_mm(grid) for track in tracks]).reshape(-1, 3),
        [track.lumbosacral for track in tracks],
        floor,
    )
    named = zip(tracks, levels.labels, strict=True)
    return [_Disc(label, track.slices) for track, label in named if label], levels.reason


def _describe(disc: _Disc, across: int) -> Instance:
    """The instance of a disc, its box on the volume's own axes."""
    schema = read_label_schema(_SCHEMA)
    name = next(structure.name for structure in schema.structures if structure.index == disc.label)
    edges = np.array([piece.edges for piece in disc.slices])
    box = [(int(edges[:, axis, 0].min()), int(edges[:, axis, 1].max())) for axis in (0, 1)]
    indices = [piece.slice_index for piece in disc.slices]
    box.insert(across, (min(indices), max(indices) + 1))
    scores = tuple((piece.slice_index, round(piece.score, 4)) for piece in disc.slices)
    score = round(float(np.mean([piece.score for piece in disc.slices])), 4)
    return Instance(name, score, (tuple(low for low, _ in box), tuple(high for _, high in box)), scores)
