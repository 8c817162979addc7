"""Slices that a 2D network trains on: read once, put on the working plane, kept in memory, drawn by seed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.data import NibabelReader
from torch import Tensor
from torch.utils.data import Dataset

from myotome.errors import InputError
from myotome.training.plane_cache import describe_files, keep
from myotome.transforms import WorkingPlane, find_view, fit_spacing_mm

__all__ = ["UNGRADED", "PlaneDataset", "PlaneSampling", "Planes"]

_LOG = logging.getLogger(__name__)
UNGRADED = -1


@dataclass(frozen=True)
class PlaneSampling:
    """How slices are read and drawn.

    Slices lie on a square of ``size`` pixels of ``spacing_mm``, turned as ``view`` says (``own``: as the image's slices
    lie) and scaled by ``window_hu`` (see :class:`myotome.transforms.WorkingPlane`). With ``whole_body`` the spacing
    grows until the square shows all of the body. Of an image the slice with most labelled pixels is taken, or so many
    ``labelled_slices``, evenly spread among those that have any. A grade is drawn in proportion to its number of cases
    to the power of ``1 - balance``: 0 as they are, 1 all grades alike; the sample's ``weight`` makes up for it.
    ``empty_share`` of the samples show an unlabelled slice of a volume, one of ``empty_slices`` that are at least
    ``empty_mm`` from those taken; where there are none, a labelled one. Of an image without a label file,
    ``slices_per_image`` evenly spread slices are taken, all alike. Label ``ignored`` is kept where nothing was
    annotated. What was read is kept in ``cache_dir``.

    With ``spanned`` labels, ``slices_per_image`` are taken of a labelled image, too: from the lowest to the highest
    slice that shows such a label. ``merged`` gives the class of each label of the file, from 0 on; without it they are
    the classes, 0 to 4. With ``neighbour_mm`` an image has three channels: a slice between those so far below and
    above.
    """

    spacing_mm: float = 0.6
    size: int = 256
    balance: float = 0.0
    empty_share: float = 0.0
    empty_slices: int = 2
    empty_mm: float = 12.0
    cache_dir: str | None = None
    view: str = "sagittal"
    window_hu: tuple[float, float] | None = None
    whole_body: bool = False
    slices_per_image: int = 1
    ignored: int | None = None
    spanned: tuple[int, ...] = ()
    merged: tuple[int, ...] = (0, 1, 2, 3, 4)
    neighbour_mm: float | None = None
    labelled_slices: int = 1


@dataclass(frozen=True, eq=False)
class Planes:
    """Slices in memory: ``image`` (N, H, W) float16, ``label`` (N, H, W) uint8, the others (N,).

    With neighbours the images are (N, 3, H, W).
    """

    image: Tensor
    label: Tensor
    grade: Tensor
    empty: Tensor
    axial: Tensor


class PlaneDataset(Dataset):
    """Samples ``{"image": (1, H, W) float32, "label": (1, H, W) uint8, "grade", "weight", "axial", "seed"}``.

    With neighbours the image is (3, H, W). Sample ``index`` depends on ``seed`` and ``index`` alone, so a resumed run
    sees what it would have seen. ``seed`` of a sample is for what is drawn later, batch by batch. A row without a grade
    has -1.

    Parameters
    ----------
    data : rows with the path ``image`` and, for all but pretext tasks, ``label``; optionally ``grade``, 0 to 4, and
        ``slice``, the index of the slice to take, where it is not the one with most labelled pixels.
    length : number of samples; ``None``: every slice that is taken once, in order.
    sampling : how slices are read and drawn.
    prepare : called once with the :class:`Planes`; gives further tensors, one row per slice, by name. Those named
        ``label`` take the place of the labels.
    shard : (rank, processes): which of several processes this one is; each draws ``length`` samples of its own.

    ``start``, the number of the first sample, is set when a run resumes.

    Raises
    ------
    InputError
        When ``data`` is empty or an image and its label differ in shape.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        length: int | None = None,
        seed: int = 0,
        sampling: PlaneSampling | None = None,
        prepare: Callable[[Planes], dict[str, Tensor]] | None = None,
        shard: Sequence[int] = (0, 1),
    ) -> None:
        if not data:
            raise InputError("the data list is empty: point dataset_dir at a folder whose datalist.json lists cases.")
        self.data, self.length, self.seed, self.start = list(data), length, seed, 0
        self.sampling, self.prepare = sampling or PlaneSampling(), prepare
        self.rank, self.processes = shard
        self._loaded: tuple[Planes, dict[str, Tensor], np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        if self.length is not None:
            return max(0, self.length - self.start)
        several = self.sampling.slices_per_image, self.sampling.labelled_slices
        most = max(several["label" in row and not self.sampling.spanned] for row in self.data)
        return len(self._load()[0].image) if most > 1 else len(self.data)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        planes, further, chances, weights = self._load()
        number = (self.start + index) * self.processes + self.rank
        rng = np.random.default_rng((self.seed, number))
        row = index if self.length is None else int(np.searchsorted(chances, rng.random(), side="right"))
        row = min(row, len(chances) - 1)
        sample = {
            "image": planes.image[row].float().reshape(-1, *planes.image.shape[-2:]),
            "label": planes.label[row, None],
            "grade": planes.grade[row],
            "weight": torch.tensor(weights[row], dtype=torch.float32),
            "axial": planes.axial[row],
            "seed": torch.tensor(int(rng.integers(2**62))),
        }
        given = {name: values[row] for name, values in further.items()}
        if "label" in given:
            given["label"] = given["label"][None]
        return {**sample, **given}

    def _load(self) -> tuple[Planes, dict[str, Tensor], np.ndarray, np.ndarray]:
        if self._loaded is None:
            begun = time.monotonic()
            planes = _read_planes(self.data, self.sampling, with_empty=self.length is not None)
            further = self.prepare(planes) if self.prepare else {}
            _LOG.info("%d slices of %d images in %.0f s", len(planes.image), len(self.data), time.monotonic() - begun)
            self._loaded = planes, further, *_chances(planes, self.sampling)
        return self._loaded


def _read_planes(data: Sequence[Mapping[str, Any]], sampling: PlaneSampling, with_empty: bool) -> Planes:
    how = replace(sampling, balance=0.0, cache_dir=None, empty_share=float(with_empty and sampling.empty_share > 0))
    parts = ["planes", describe_files(data), asdict(how)]
    return Planes(**keep(sampling.cache_dir, parts, lambda: _read_all(data, how)))


def _read_all(data: Sequence[Mapping[str, Any]], sampling: PlaneSampling) -> dict[str, Tensor]:
    images, labels, grades, empty, axial = [], [], [], [], []
    for row in data:
        image, label, plane = _read_pair(row, sampling)
        shown, others = _choose_slices(row, label, plane, sampling)
        for index in (*shown, *others):
            images.append(_take_image(image, index, plane, sampling).astype(np.float16))
            classes = _merge(plane.take(label, index), sampling)
            labels.append(plane.resample_labels(classes, max(sampling.merged) + 1, sampling.ignored))
            grades.append(int(row.get("grade", UNGRADED)) if index in shown else UNGRADED)
            empty.append(index not in shown)
            axial.append(plane.view == "axial")
    if not images:
        raise InputError("no image of the data list shows one of the labels that are learned: check its label files.")
    image, label = (torch.from_numpy(np.stack(arrays)) for arrays in (images, labels))
    told = {"grade": grades, "empty": empty, "axial": axial}
    return {"image": image, "label": label, **{name: torch.tensor(values) for name, values in told.items()}}


def _take_image(image: np.ndarray, index: int, plane: WorkingPlane, sampling: PlaneSampling) -> np.ndarray:
    if sampling.neighbour_mm is None:
        return plane.take_scaled(image, index)
    return plane.take_between(image, index, sampling.neighbour_mm)


def _merge(labels: np.ndarray, sampling: PlaneSampling) -> np.ndarray:
    """The class of each label; one that has none is background, and what is ignored stays."""
    table = np.zeros(256, np.uint8)
    table[: len(sampling.merged)] = sampling.merged
    if sampling.ignored is not None:
        table[sampling.ignored] = sampling.ignored
    return table[labels.astype(np.uint8)]


def _read_pair(row: Mapping[str, Any], sampling: PlaneSampling) -> tuple[np.ndarray, np.ndarray, WorkingPlane]:
    opened = NibabelReader().read([row["image"], row["label"]] if "label" in row else row["image"])
    image, *others = (np.asanyarray(item.dataobj) for item in (opened if isinstance(opened, list) else [opened]))
    affine = (opened[0] if isinstance(opened, list) else opened).affine
    label = others[0] if others else np.zeros(image.shape, np.uint8)
    if image.shape != label.shape:
        raise InputError(f"{row['image']} and {row['label']} differ in shape: make both on one grid.")
    spacing_mm = sampling.spacing_mm
    if sampling.whole_body:
        spacing_mm = fit_spacing_mm(image, affine, spacing_mm, sampling.size)
    view = find_view(image.shape, affine) if sampling.view == "own" else sampling.view
    return image, label, WorkingPlane(image.shape, affine, spacing_mm, sampling.size, view, sampling.window_hu)


def _choose_slices(
    row: Mapping[str, Any], label: np.ndarray, plane: WorkingPlane, sampling: PlaneSampling
) -> tuple[list[int], list[int]]:
    """The slices that are named, or have labelled pixels, and evenly spread ones that are far enough from them."""
    if "label" not in row:
        return _spread(np.arange(plane.slice_count), sampling.slices_per_image), []
    others = tuple(axis for axis in range(3) if axis != plane.slice_axis)
    if sampling.spanned:
        showing = np.flatnonzero(np.isin(label, sampling.spanned).any(axis=others))
        if not showing.size:
            return [], []
        return _spread(np.arange(showing[0], showing[-1] + 1), sampling.slices_per_image), []
    labelled = np.count_nonzero(label, axis=others)
    shown = [int(row.get("slice", labelled.argmax()))]
    if sampling.labelled_slices > 1 and "slice" not in row and labelled.any():
        shown = _spread(np.flatnonzero(labelled), sampling.labelled_slices)
    if not sampling.empty_share or not labelled.any():
        return shown, []
    apart = np.abs(np.arange(plane.slice_count)[:, None] - shown).min(axis=1) * plane.slice_spacing_mm
    return shown, _spread(np.flatnonzero((apart >= sampling.empty_mm) & (labelled == 0)), sampling.empty_slices)


def _spread(indices: np.ndarray, count: int) -> list[int]:
    """So many of the indices, from the first to the last; a single one is the middle."""
    count = min(len(indices), count)
    places = np.linspace(0, len(indices) - 1, count) if count != 1 else np.array([(len(indices) - 1) / 2])
    return [int(indices[place]) for place in places.round().astype(int)]


def _chances(planes: Planes, sampling: PlaneSampling) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative chance of each slice, and the weight that makes up for it, 1 on average."""
    grade, empty = planes.grade.numpy(), planes.empty.numpy()
    _, place, counts = np.unique(grade, return_inverse=True, return_counts=True)
    chance = np.where(empty, 0, counts[place] ** -float(sampling.balance))
    chance = chance / chance.sum()
    weight = np.where(empty, 1, 1 / np.maximum(chance * np.count_nonzero(~empty), 1e-12))
    if empty.any():
        chance = np.where(empty, sampling.empty_share / empty.sum(), (1 - sampling.empty_share) * chance)
    return np.cumsum(chance), weight
