"""The shipped weights on phantoms that no training has seen: slices against the truth, and L3 found in volumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from myotome.errors import InputError
from myotome.inference.l3_slices import LevelFinder
from myotome.inference.slice_batch import SliceSegmenter
from myotome.io import read_volume
from myotome.phantom_dataset import PhantomRequest, write_phantoms
from myotome.statistics.classification import bootstrap, estimate_proportion, weigh_mean
from myotome.statistics.intervals import Estimate
from myotome.studies.l3_transfer.analysis import add_errors
from myotome.studies.l3_transfer.cases import make_people, read_slices
from myotome.studies.l3_transfer.scoring import score_slice
from myotome.studies.l3_transfer.settings import StudySettings
from myotome.studies.protocol import People

__all__ = [
    "evaluate_levels",
    "evaluate_slices",
    "judge_level",
    "seek_levels",
    "tabulate_bars",
    "tabulate_floors",
    "tabulate_levels",
]

Progress = Callable[[int, int, str], None]

_BATCH = 16


def evaluate_slices(
    weights: Path, settings: StudySettings, folder: Path, progress: Progress | None = None
) -> pd.DataFrame:
    """Scores of each held-out phantom's slice: ``case``, the columns of `score_slice`, and the absolute errors.

    ``sma_absolute_percent`` and ``smd_absolute_hu`` are absolute differences from the reference's measures.

    Raises
    ------
    BundleError
        When there are no such weights.
    """
    segmenter = SliceSegmenter(weights)
    people = People(**settings.held_out["phantoms"])
    slices = read_slices(make_people(people, folder / "phantoms", progress=progress), progress)
    rows = []
    for start in range(0, len(slices), _BATCH):
        batch = slices[start : start + _BATCH]
        for item, label in zip(batch, segmenter.label(batch), strict=True):
            rows.append({"case": item.case, **score_slice(item, label)})
        if progress:
            progress(len(rows), len(slices), "labelling")
    scores = add_errors(pd.DataFrame(rows))
    return scores.assign(
        sma_absolute_percent=scores["sma_error_percent"].abs(), smd_absolute_hu=scores["smd_error_hu"].abs()
    )


def evaluate_levels(
    weights: Path, settings: StudySettings, folder: Path, progress: Progress | None = None
) -> pd.DataFrame:
    """Where L3 is found in held-out volumes, some of which do not show it.

    Returns
    -------
    DataFrame : ``case``, ``truth_z_mm`` (empty where L3 is not in the field), ``found_z_mm`` (empty where refused),
        ``confidence``, ``reason`` and ``verdict`` (`judge_level`).
    """
    people = People(**settings.held_out["volumes"])
    request = PhantomRequest(folder / "volumes", people.count, people.seed, anatomy="abdomen", slices=0)
    cases = [
        (case / "image.nii.gz", json.loads((case / "truth.json").read_text(encoding="utf-8"))["level_z_mm"].get("L3"))
        for case in write_phantoms(request, progress)
    ]
    return seek_levels(LevelFinder(weights), cases, settings.held_out["level_tolerance_mm"], progress)


def seek_levels(
    finder: LevelFinder,
    cases: Sequence[tuple[Path, float | None]],
    tolerance_mm: float,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Where L3 is found in volumes; the columns of `evaluate_levels`.

    Parameters
    ----------
    cases : image and patient z of the middle of L3 (mm), or ``None`` where it is not in the field
    """
    rows = []
    for image, truth in cases:
        try:
            level = finder.find(read_volume(image))
            found, confidence, reason = level.z_mm, level.confidence, level.reason
        except InputError as error:
            found, confidence, reason = None, None, str(error)
        verdict = judge_level(truth, found, tolerance_mm)
        rows.append({"case": image.parent.name, "truth_z_mm": truth, "found_z_mm": found, "confidence": confidence})
        rows[-1] |= {"reason": reason, "verdict": verdict}
        if progress:
            progress(len(rows), len(cases), "levels")
    return pd.DataFrame(rows)


def judge_level(truth_z_mm: float | None, found_z_mm: float | None, tolerance_mm: float) -> str:
    """``found`` within the tolerance, ``wrong``, ``refused`` though L3 is there, or ``rightly refused``."""
    if found_z_mm is None:
        return "rightly refused" if truth_z_mm is None else "refused"
    if truth_z_mm is None:
        return "wrong"
    return "found" if abs(found_z_mm - truth_z_mm) <= tolerance_mm else "wrong"


def tabulate_bars(scores: pd.DataFrame, levels: pd.DataFrame, settings: StudySettings) -> str:
    """The bars of the protocol, as Markdown: mean with interval (resampled cases; Wilson for shares), met or missed."""
    lines = ["| score | value (95 % interval) | cases | bar | verdict |", "|---|---|---|---|---|"]
    for bar in settings.held_out["bars"]:
        found, cases = _estimate(bar["measure"], scores, levels, settings)
        most = "at_most" in bar
        limit = bar["at_most"] if most else bar["at_least"]
        met = found is not None and (found.value <= limit if most else found.value >= limit)
        figure = "-" if found is None else f"{found.value:.4f} ({found.lower:.4f}-{found.upper:.4f})"
        verdict = "met" if met else "missed"
        lines.append(f"| {bar['title']} | {figure} | {cases} | {'<=' if most else '>='} {limit} | {verdict} |")
    return "\n".join(lines)


def tabulate_levels(levels: pd.DataFrame) -> str:
    """How many volumes had L3 found, refused or wrong, with and without L3 in the field, as Markdown."""
    lines = ["| L3 in the scan | volumes | found | wrong | refused |", "|---|---|---|---|---|"]
    inside = levels["truth_z_mm"].notna()
    for title, part in (("yes", levels[inside]), ("no", levels[~inside])):
        counts = part["verdict"].value_counts()
        refused = counts.get("refused", 0) + counts.get("rightly refused", 0)
        lines.append(f"| {title} | {len(part)} | {counts.get('found', 0)} | {counts.get('wrong', 0)} | {refused} |")
    return "\n".join(lines)


def tabulate_floors(levels: pd.DataFrame, floors: Sequence[float]) -> str:
    """What each floor of the confidence leaves of levels that were sought with a floor of 0, as Markdown."""
    lines = ["| floor | found, where L3 is | told wrongly, of all |", "|---|---|---|"]
    inside = levels["truth_z_mm"].notna().sum()
    for floor in floors:
        counts = levels.loc[levels["confidence"].astype(float) >= floor, "verdict"].value_counts()
        found, wrong = counts.get("found", 0) / max(1, inside), counts.get("wrong", 0) / max(1, len(levels))
        lines.append(f"| {floor:g} | {found:.3f} | {wrong:.3f} |")
    return "\n".join(lines)


def _estimate(
    measure: str, scores: pd.DataFrame, levels: pd.DataFrame, settings: StudySettings
) -> tuple[Estimate | None, int]:
    if measure in ("level_found", "level_wrong"):
        part = levels[levels["truth_z_mm"].notna()] if measure == "level_found" else levels
        count = int((part["verdict"] == measure.removeprefix("level_")).sum())
        return (estimate_proportion(count, len(part)), len(part)) if len(part) else (None, 0)
    values = scores[measure].astype(float).dropna().to_numpy()
    if not len(values):
        return None, 0
    return _mean(values, settings), len(values)


def _mean(values: np.ndarray, settings: StudySettings) -> Estimate:
    return bootstrap(
        lambda weights: weigh_mean(values, weights), len(values), resamples=settings.resamples, seed=settings.seed
    )
