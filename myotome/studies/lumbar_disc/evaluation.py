"""The shipped weights on people that no training has seen: phantoms in both planes, and two real people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from myotome.inference import DiscFinder
from myotome.io.atomic import atomic_path
from myotome.resources import bundle_root
from myotome.studies.lumbar_disc.analysis import MEASURES, estimate_scores, tabulate_objects
from myotome.studies.lumbar_disc.datasets import convert_mat
from myotome.studies.lumbar_disc.images import Progress, make_people, score_images
from myotome.studies.lumbar_disc.run import OpenFinder, Train
from myotome.studies.lumbar_disc.scoring import Finder
from myotome.studies.lumbar_disc.settings import People, StudySettings
from myotome.training import BundleTraining, train_bundle

__all__ = [
    "PLANES",
    "Evaluation",
    "evaluate_people",
    "evaluate_phantoms",
    "fine_tune",
    "list_real",
    "tabulate_bars",
    "tabulate_real",
]

PLANES = ("axial", "sagittal")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of one set of images: every slice, the estimates of `estimate_scores`, and the names of the discs."""

    rows: pd.DataFrame
    scores: pd.DataFrame
    levels: pd.DataFrame


def evaluate_phantoms(
    finder: Finder, settings: StudySettings, folder: Path, plane: str, jobs: int = 1, progress: Progress | None = None
) -> Evaluation:
    """Score weights on the held-out phantoms of one plane.

    Parameters
    ----------
    folder : where the phantoms are kept
    plane : ``"axial"`` or ``"sagittal"``
    """
    people = People(**settings.held_out[plane])
    return _evaluate(make_people(people, folder / plane, plane, jobs, progress), finder, settings, progress)


def _evaluate(
    images: pd.DataFrame, finder: Finder, settings: StudySettings, progress: Progress | None = None
) -> Evaluation:
    rows, pairs, levels = score_images(images, finder, settings, progress)
    scores = estimate_scores(rows, tabulate_objects(rows, pairs), resamples=settings.resamples, seed=settings.seed)
    return Evaluation(rows, scores, levels)


def list_real(settings: StudySettings, data: Path, folder: Path) -> pd.DataFrame:
    """The two real people as images, one row each; their files are written into ``folder``.

    Raises
    ------
    InputError
        When a file is absent or not of this kind.
    """
    wanted = {Path(name).stem for name in settings.real["files"]}
    rows = [row for row in convert_mat(data / settings.real["folder"], folder) if row["case"] in wanted]
    return pd.DataFrame(rows)[["case", "patient", "image", "label"]]


def fine_tune(
    start: Path, images: pd.DataFrame, settings: StudySettings, folder: Path, train: Train = train_bundle
) -> Path:
    """Train weights further on a few real images; the result is kept.

    Parameters
    ----------
    start : ``model.pt`` to begin with
    images : rows to train on
    folder : where the weights are kept

    Raises
    ------
    BundleError
        When the training fails.
    """
    weights = folder / "model.pt"
    if weights.is_file():
        return weights
    work = folder / "training"
    work.mkdir(parents=True, exist_ok=True)
    rows = images[["image", "label", "case", "patient"]].to_dict("records")
    with atomic_path(folder / "datalist.json") as temporary:
        temporary.write_text(json.dumps({"training": rows, "validation": rows[:1]}, indent=1), encoding="utf-8")
    overrides = {"source": "phantom", "source_path": start, "seed": settings.seed, "backbone": settings.backbone}
    training = BundleTraining(
        bundle=bundle_root(settings.bundle),
        datalist=folder / "datalist.json",
        weights=work / "model.pt",
        checkpoints=work,
        overlays=tuple(settings.real["overlays"]),
        overrides={**overrides, **settings.real["training"]},
    )
    return train(training).replace(weights)


def evaluate_people(
    weights: Path,
    images: pd.DataFrame,
    settings: StudySettings,
    folder: Path,
    train: Train = train_bundle,
    open_finder: OpenFinder = DiscFinder,
) -> pd.DataFrame:
    """Score each real person by the weights as they are, and by weights that were trained further on the others.

    Returns
    -------
    DataFrame : ``weights`` (``before`` or ``after``), ``case``, means over slices of the pixel scores, object counts,
        ``labelled``, ``named``, ``dice_volume`` (mean over the named discs, in three dimensions) and each disc's.
    """
    found = []
    for place in range(len(images)):
        test, others = images.iloc[[place]], images.drop(images.index[place])
        own = folder / f"without_{test['case'].iloc[0]}"
        for name in ("before", "after"):
            used = weights if name == "before" else fine_tune(weights, others, settings, own, train)
            rows, _, levels = score_images(test, open_finder(used, settings.backbone), settings)
            discs = levels.filter(like="dice_").iloc[0].fillna(0.0)
            means = rows[["precision", "recall", "dice", "hd95_mm", "nsd"]].mean()
            counts = rows[["found", "missed", "invented"]].sum()
            first = {"weights": name, "case": test["case"].iloc[0]}
            named = levels[["labelled", "named"]].iloc[0]
            found.append({**first, **means, **counts, **named, "dice_volume": discs.mean(), **discs})
    return pd.DataFrame(found)


def tabulate_bars(evaluations: Mapping[str, Evaluation], held_out: Mapping[str, Any]) -> str:
    """Every score of each plane, as Markdown: value with interval, bar, and whether it is met."""
    bars = {bar["measure"]: bar["at_least"] for bar in held_out["bars"]}
    lines = ["| plane | score | value (95 % interval) | patients | bar | verdict |", "|---|---|---|---|---|---|"]
    for plane, evaluation in evaluations.items():
        for row in evaluation.scores.to_dict("records"):
            bar = bars.get(row["measure"])
            known = pd.notna(row["value"])
            interval = f" ({row['lower']:.4f}-{row['upper']:.4f})" if known and pd.notna(row["lower"]) else ""
            verdict = "" if bar is None else "met" if known and row["value"] >= bar else "missed"
            value = f"{row['value']:.4f}{interval}" if known else "-"
            limit = "" if bar is None else f">= {bar}"
            lines.append(
                f"| {plane} | {MEASURES[row['measure']]} | {value} | {row['patients']} | {limit} | {verdict} |"
            )
    return "\n".join(lines)


def tabulate_real(scores: pd.DataFrame, bars: Mapping[str, float]) -> str:
    """Each real person before and after training on the other, as Markdown; the bars are for after.

    Parameters
    ----------
    bars : least ``dice`` (mean over the named discs) and least ``named``
    """
    lines = [
        "| weights | person | Dice of the discs | Dice of slices | HD95 (mm) | named | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in scores.to_dict("records"):
        met = row["dice_volume"] >= bars["dice"] and row["named"] >= bars["named"]
        verdict = "" if row["weights"] == "before" else "met" if met else "missed"
        lines.append(
            f"| {row['weights']} | {row['case']} | {row['dice_volume']:.4f} | {row['dice']:.4f} | {row['hd95_mm']:.2f} "
            f"| {row['named']:.0f} of {row['labelled']:.0f} | {verdict} |"
        )
    return "\n".join(lines)
