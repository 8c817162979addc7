"""Scores of the respiratory-muscle bundle: on unseen phantoms against the bars, and on people with reference masks.

The protocol is ``configs/studies/respiratory_evaluation.yaml``. The scores of each case are kept in a file under the
weights' hash, so that a run that was stopped goes on, and new weights are scored anew.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ruamel.yaml import YAML
from scipy.ndimage import gaussian_filter

from myotome.errors import InputError
from myotome.geometry import Volume, reorient
from myotome.io import read_label_map, read_volume
from myotome.io.atomic import atomic_path
from myotome.metrics.segmentation import Score, score_label_map
from myotome.phantom_dataset import PhantomRequest, write_phantoms
from myotome.resources import config_path
from myotome.structures import LabelMap, read_label_schema

__all__ = [
    "Evaluation",
    "StagedSegmenter",
    "dice_by_structure",
    "evaluate_people",
    "evaluate_phantoms",
    "read_protocol",
    "tabulate",
    "write_evaluations",
]

Progress = Callable[[int, int, str], None]

_MUSCLE_HU = (-29, 150)
_SMOOTHING_PX = 0.5
_RESAMPLES = 2000


class StagedSegmenter(Protocol):
    """A segmenter that can also run the cascade's third stage alone, on a given mask."""

    weights_sha256: str
    precision: str

    def segment(self, volume: Volume) -> LabelMap: ...

    def classify(self, volume: Volume, mask: LabelMap) -> LabelMap: ...


@dataclass(frozen=True)
class Evaluation:
    """One score of one case; ``mode`` says how the prediction was made (see the protocol)."""

    case: str
    mode: str
    structure: str
    score: str
    value: float | None
    unit: str


def read_protocol(path: Path | None = None) -> dict[str, Any]:
    """The protocol, from a file or from the project's own config."""
    return YAML(typ="safe").load(path or config_path("studies/respiratory_evaluation.yaml"))


def evaluate_phantoms(
    protocol: dict[str, Any], segmenter: StagedSegmenter, folder: Path, progress: Progress | None = None
) -> tuple[list[Evaluation], dict[str, dict[str, Any]]]:
    """Score the cascade, and its third stage on the reference's mask, on every phantom of the protocol.

    Returns
    -------
    list of Evaluation : every score of every case
    dict : the truth row of each case, by case name
    """
    phantoms = protocol["phantoms"]
    request = PhantomRequest(folder / "phantoms", phantoms["count"], phantoms["seed"], phantoms["recipe"])
    cases = write_phantoms(request, progress)
    evaluations: list[Evaluation] = []
    for number, case in enumerate(cases):
        kept = _scores_folder(folder, segmenter) / f"{case.name}.json"
        evaluations += _kept_or(kept, lambda case=case: _score_phantom(case, segmenter))
        if progress:
            progress(number + 1, len(cases), "scored phantoms")
    return evaluations, {case.name: json.loads((case / "truth.json").read_text()) for case in cases}


def evaluate_people(protocol: dict[str, Any], segmenter: StagedSegmenter, folder: Path, data: Path) -> list[Evaluation]:
    """Dice on real scans, over the slices in which each label is completely annotated.

    Two modes: ``cascade`` is the label map as it is; ``muscle_range`` keeps of it what lies within -29..150 HU after a
    0.5-pixel Gaussian, the rule by which the hand-drawn references were made (their contours exclude fat).
    """
    evaluations: list[Evaluation] = []
    for person in protocol["people"]:
        if not (data / person["reference"]).exists():
            continue
        kept = _scores_folder(folder, segmenter) / f"{person['name']}.json"
        evaluations += _kept_or(kept, lambda person=person: _score_person(person, segmenter, data))
    return evaluations


def tabulate(
    protocol: dict[str, Any],
    phantoms: list[Evaluation],
    people: list[Evaluation],
    truths: dict[str, dict[str, Any]],
) -> str:
    """The tables, as Markdown: bars on phantoms, where they are lost, and people."""
    parts = [_table_of_bars(protocol, phantoms)]
    parts += [_table_by_group(phantoms, groups, title) for title, groups in _groups(truths).items()]
    parts.append(_table_of_people(protocol, people))
    return "\n\n".join(parts) + "\n"


def dice_by_structure(evaluations: list[Evaluation]) -> dict[str, dict[str, float]]:
    """End-to-end Dice of each case, by structure, where it is defined."""
    names = [structure.name for structure in read_label_schema().structures]
    return {name: _values(evaluations, "cascade", name, "dice") for name in names}


def write_evaluations(path: Path, evaluations: Iterable[Evaluation]) -> None:
    """Every score as one CSV row."""
    rows = [asdict(evaluation) for evaluation in evaluations]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(Evaluation.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(rows)


# -- scoring -----------------------------------------------------------------------------------------------------


def _scores_folder(folder: Path, segmenter: StagedSegmenter) -> Path:
    return folder / "scores" / f"{segmenter.weights_sha256[:12]}-{segmenter.precision}"


def _kept_or(path: Path, compute: Callable[[], list[Evaluation]]) -> list[Evaluation]:
    if path.is_file():
        return [Evaluation(**row) for row in json.loads(path.read_text())]
    evaluations = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps([asdict(evaluation) for evaluation in evaluations]))
    return evaluations


def _score_phantom(case: Path, segmenter: StagedSegmenter) -> list[Evaluation]:
    volume = read_volume(case / "image.nii.gz")
    reference = read_label_map(case / "labels.nii.gz", read_label_schema())
    predictions = {"cascade": segmenter.segment(volume)}
    respiratory = np.where(reference.array < 4, reference.array, 0).astype(np.uint8)
    mask = LabelMap(respiratory, reference.grid, reference.schema)
    predictions["reference_mask"] = segmenter.classify(volume, mask)
    references = {"cascade": reference, "reference_mask": mask}
    return [
        _evaluation(case.name, mode, score)
        for mode, prediction in predictions.items()
        for score in score_label_map(references[mode], prediction, volume, tolerance_mm=None)
    ]


def _evaluation(case: str, mode: str, score: Score) -> Evaluation:
    return Evaluation(case, mode, score.structure, score.score, score.value, score.unit)


def _score_person(person: dict[str, Any], segmenter: StagedSegmenter, data: Path) -> list[Evaluation]:
    volume = read_volume(data / person["image"])
    prediction, _ = reorient(segmenter.segment(volume).array, volume.grid.affine)
    image, _ = reorient(volume.array, volume.grid.affine)
    ruled = np.where(_in_muscle_range(image), prediction, 0)
    annotated = _annotated_slices(data / person["slices"]) if "slices" in person else None
    rows = []
    for name, (reference, known) in _references(person, data, volume).items():
        labels = (1, 2, 3, 4) if name == "muscle_tissue" else (read_label_schema()[name].index,)
        slices = slice(None) if annotated is None else annotated.get(name, [])
        if annotated is not None and not slices:
            continue
        for mode, array in (("cascade", prediction), ("muscle_range", ruled)):
            found = np.isin(array, labels) & known
            both = np.count_nonzero(found[:, :, slices] & reference[:, :, slices])
            total = np.count_nonzero(found[:, :, slices]) + np.count_nonzero(reference[:, :, slices])
            rows.append(Evaluation(person["name"], mode, name, "dice", 2 * both / total if total else None, "1"))
    return rows


def _references(person: dict[str, Any], data: Path, volume: Volume) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mask and known voxels (RAS) of each label that the reference holds."""
    masks = {}
    array = _read_on_grid(data / person["reference"], volume)
    for name, values in person["labels"].items():
        masks[name] = np.isin(array, values), array != 255
    if "muscle_tissue" in person:
        array = _read_on_grid(data / person["muscle_tissue"], volume)
        masks["muscle_tissue"] = array == 1, array != 255
    return masks


def _read_on_grid(path: Path, volume: Volume) -> np.ndarray:
    """An annotation's values in RAS order, which must be on the image's grid."""
    annotation = read_volume(path)
    array, affine = reorient(annotation.array, annotation.grid.affine)
    image, image_affine = reorient(volume.array, volume.grid.affine)
    if array.shape != image.shape or not np.allclose(affine, image_affine, atol=0.1):
        raise InputError(f"{path.name} is not on the grid of its image: bring it there first.")
    return np.rint(array).astype(np.uint8)


def _annotated_slices(path: Path) -> dict[str, list[int]]:
    slices: dict[str, list[int]] = {}
    for index, entry in json.loads(path.read_text())["slices"].items():
        for name in entry.get("complete", ()):
            slices.setdefault(name, []).append(int(index))
    return slices


def _in_muscle_range(image: np.ndarray) -> np.ndarray:
    smooth = gaussian_filter(image.astype(np.float32), (_SMOOTHING_PX, _SMOOTHING_PX, 0))
    return (smooth >= _MUSCLE_HU[0]) & (smooth <= _MUSCLE_HU[1])


# -- tables ------------------------------------------------------------------------------------------------------


def _values(evaluations: list[Evaluation], mode: str, structure: str, score: str) -> dict[str, float]:
    return {
        e.case: abs(e.value) if score.endswith("error") else e.value
        for e in evaluations
        if (e.mode, e.structure, e.score) == (mode, structure, score) and e.value is not None
    }


def _interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of the mean, by resampling cases (seeded)."""
    rng = np.random.default_rng(20261)
    draws = rng.choice(values, (_RESAMPLES, len(values))).mean(axis=1)
    return float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))


def _table_of_bars(protocol: dict[str, Any], evaluations: list[Evaluation]) -> str:
    lines = ["| measure | prediction | mean (95 % interval) | cases | bar | met |", "|---|---|---|---|---|---|"]
    for bar in protocol["bars"]:
        values = list(_values(evaluations, bar["mode"], bar["structure"], bar["score"]).values())
        if not values:
            lines.append(f"| {bar['title']} | {bar['mode']} | no case | 0 | | no |")
            continue
        mean, (low, high) = float(np.mean(values)), _interval(values)
        most = "at_most" in bar
        limit = bar["at_most"] if most else bar["at_least"]
        met = mean <= limit if most else mean >= limit
        figure = f"{mean:.2f} ({low:.2f}-{high:.2f})" if most else f"{mean:.4f} ({low:.4f}-{high:.4f})"
        sign = "<=" if most else ">="
        lines.append(
            f"| {bar['title']} | {bar['mode']} | {figure} | {len(values)} | {sign} {limit} | {'yes' if met else 'no'} |"
        )
    return "\n".join(lines)


def _groups(truths: dict[str, dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Cases by slice thickness and by noise at that thickness."""
    thickness: dict[str, list[str]] = {"1-1.5 mm": [], "2-3 mm": [], "4-5 mm": [], "6-8 mm": []}
    noise: dict[str, list[str]] = {"below 10 HU": [], "10-20 HU": [], "20-35 HU": [], "35 HU and more": []}
    for case, truth in truths.items():
        mm = truth["slice_thickness_mm"]
        thickness[list(thickness)[int(np.searchsorted((1.5, 3, 5), mm))]].append(case)
        hu = truth["noise_hu"] * np.sqrt(5 / mm)
        noise[list(noise)[int(np.searchsorted((10, 20, 35), hu, side="right"))]].append(case)
    return {"slice thickness": thickness, "noise (SD at this thickness)": noise}


def _table_by_group(evaluations: list[Evaluation], groups: dict[str, list[str]], title: str) -> str:
    names = ("muscle_tissue", "respiratory_muscles", "pectoralis", "erector_spinae", "intercostal")
    lines = [f"| {title} | cases | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for group, cases in groups.items():
        cells = []
        for name in names:
            values = _values(evaluations, "cascade", name, "dice")
            chosen = [values[case] for case in cases if case in values]
            cells.append(f"{np.mean(chosen):.4f}" if chosen else "")
        lines.append(f"| {group} | {len(cases)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _table_of_people(protocol: dict[str, Any], evaluations: list[Evaluation]) -> str:
    lines = ["| person | structure | Dice | Dice within -29..150 HU | bar | met |", "|---|---|---|---|---|---|"]
    for person in protocol["people"]:
        name = person["name"]
        rows = {(e.structure, e.mode): e.value for e in evaluations if e.case == name}
        for structure in dict.fromkeys(structure for structure, _ in rows):
            value, ruled = rows[structure, "cascade"], rows[structure, "muscle_range"]
            bar = person["bars"].get(structure)
            verdict = "" if bar is None else "yes" if value is not None and value >= bar else "no"
            figures = " | ".join("" if v is None else f"{v:.3f}" for v in (value, ruled))
            lines.append(f"| {name} | {structure} | {figures} | {'' if bar is None else f'>= {bar}'} | {verdict} |")
    return "\n".join(lines)
