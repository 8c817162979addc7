"""The study from its settings to everything that is reported."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myotome import __version__
from myotome.io.atomic import atomic_path
from myotome.studies.l3_transfer.analysis import (
    Band,
    Scoring,
    add_errors,
    compare_with_scratch,
    find_band,
    find_needed,
    rank_sources,
    score_agreement,
    summarise,
    summarise_observers,
)
from myotome.studies.l3_transfer.cases import L3Slice, read_slices
from myotome.studies.l3_transfer.conclusion import conclude
from myotome.studies.l3_transfer.jobs import Job
from myotome.studies.l3_transfer.observers import read_readers, score_observers, simulate_observers
from myotome.studies.l3_transfer.run import Means, Trained, run_jobs
from myotome.studies.l3_transfer.settings import STRUCTURES, StudySettings

__all__ = ["Findings", "find_out", "pick_examples", "run_study"]

Shown = list[tuple[str, L3Slice, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Findings:
    """What the study found: tables of `myotome.studies.l3_transfer.analysis`, the band, and what follows from them.

    ``tables`` has ``scores``, ``summary``, ``comparisons``, ``agreement``, ``needed``, ``observers`` and ``readings``
    (every observer and case); ``spread`` says how far observers are from one another.
    """

    tables: dict[str, pd.DataFrame]
    bands: dict[str, Band]
    spread: dict[str, Any]
    best: str
    left_out: dict[str, str]
    examples: Shown
    conclusion: list[str]
    facts: dict[str, Any]
    software: dict[str, str]


def run_study(settings: StudySettings, output: Path, means: Means, readers: Path | None = None) -> Findings:
    """Train and score every job, as far as that is not done yet, and analyse.

    Parameters
    ----------
    readers : folder of real readers' masks; observers are simulated without it

    Raises
    ------
    InputError, BundleError, OutputError
        See `myotome.studies.l3_transfer.run.run_jobs` and `myotome.studies.l3_transfer.observers.read_readers`.
    """
    output = output.resolve()
    if readers is not None and not readers.is_dir():  # said before hours of training, not after them
        read_readers(readers, [])
    trained = run_jobs(settings, output, means)
    slices = read_slices(trained.cases, means.progress)
    readings = _read_observers(settings, slices, output, means, readers)
    examples = pick_examples(trained, settings, slices, output)
    return find_out(trained, readings, settings, examples, simulated=readers is None)


def _read_observers(
    settings: StudySettings, slices: list[L3Slice], output: Path, means: Means, readers: Path | None
) -> pd.DataFrame:
    """Scores of every observer; those of the simulated ones are kept, since they take minutes."""
    if readers is not None:
        return score_observers(read_readers(readers, slices))
    model = settings.observers
    words = astuple(model)
    path = output / "observers" / f"simulated_{'_'.join(f'{word:g}' for word in words)}.csv"
    if not path.is_file():
        table = score_observers(simulate_observers(slices, model, means.progress))
        with atomic_path(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    return pd.read_csv(path, dtype={"case": str})


def find_out(
    trained: Trained, readings: pd.DataFrame, settings: StudySettings, examples: Shown, simulated: bool = True
) -> Findings:
    """Analyse scores of trainings and observers (simulated ones, or readers), and conclude."""
    scoring = Scoring(settings.structure, settings.resamples, settings.seed)
    scores = add_errors(trained.scores)
    contours = [f"{name}_{score}" for name in STRUCTURES for score in ("dice", "rms_dta_mm")]
    errors = ["sma_error_percent", "smd_error_hu", "smi_error_cm2_m2"]
    measures = [*contours, *(name for name in errors if scores[name].notna().any())]
    observers, spread = summarise_observers(readings, scoring)
    bands = {name: find_band(observers, name) for name in ("dice", "rms_dta_mm")}
    summary = summarise(scores, measures, scoring)
    tables = {
        "scores": scores,
        "summary": summary,
        "comparisons": compare_with_scratch(scores, contours, scoring),
        "agreement": score_agreement(scores),
        "needed": find_needed(summary, bands, scoring),
        "observers": observers,
        "readings": readings,
    }
    return Findings(
        tables=tables,
        bands=bands,
        spread=spread,
        best=rank_sources(summary, scoring)[0],
        left_out=trained.left_out,
        examples=examples,
        conclusion=conclude(tables, bands, trained.left_out, settings),
        facts={
            "cases": len(trained.cases),
            "patients": int(trained.cases["patient"].nunique()),
            "heights": int(trained.cases["height_m"].notna().sum()),
            "jobs": len(trained.seconds),
            "hours": sum(trained.seconds.values()) / 3600,
            "simulated": simulated,
            "observed": int(readings["case"].nunique()),
        },
        software={"myotome": __version__, **{name: version(name) for name in ("torch", "monai", "numpy", "scipy")}},
    )


def pick_examples(trained: Trained, settings: StudySettings, slices: list[L3Slice], output: Path) -> Shown:
    """The best, the median and the worst test case by DSC of the best source, at the smallest and the largest n."""
    scoring = Scoring(settings.structure, 1, settings.seed)
    best = rank_sources(summarise(trained.scores, [scoring.overlap], scoring), scoring)[0]
    known, shown = {item.case: item for item in slices}, []
    for n in dict.fromkeys((settings.subset_sizes[0], settings.subset_sizes[-1])):
        rows = trained.scores.query("source == @best and n == @n and repeat == 1").dropna(subset=scoring.overlap)
        rows = rows.sort_values(scoring.overlap, ascending=False, kind="stable").reset_index(drop=True)
        for word, place in (("best", 0), ("median", len(rows) // 2), ("worst", len(rows) - 1)):
            row = rows.iloc[place]
            folder = output / "jobs" / Job(best, int(n), int(row["fold"]), 1).job_id
            with np.load(folder / "labels.npz") as labels:
                title = f"n = {n}, {word}: DSC {row[scoring.overlap]:.3f}"
                shown.append((title, known[row["case"]], labels[row["case"]]))
    return shown
