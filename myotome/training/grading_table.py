"""What a grader says of each image of a run, in tables, and how it agrees with the cases' grades."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from myotome.biomarkers.goutallier import DEFINITIONS, GRADES, read_definition
from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.statistics.classification import compute_auroc, compute_decision_scores
from myotome.statistics.intervals import Estimate
from myotome.statistics.kappa import compute_kappa
from myotome.structures import LabelMap, read_label_schema
from myotome.training.evaluation import gather_rows, write_csv

__all__ = ["GradingTable"]

_SCORE_COLUMNS = ("definition", "score", "value", "lower", "upper", "cases", "positives")


class GradingTable:
    """Writes what a classifier says of each image of a run; a handler of the evaluator.

    ``gradings.json`` has everything, with a sentence on why the slice was chosen, and ``gradings.csv`` a row per image:
    slice, most probable grade, probability of each definition and grade. Cells are empty where nothing was graded.
    When the cases come with a ``grade``, ``grading_scores.csv`` compares. Under several processes the first one writes.

    Parameters
    ----------
    inferer : with ``grade(volume, label_map, network)``, such as :class:`myotome.inference.YViewInferer`.
    network : that the inferer takes.
    output_dir : folder for the files.
    definitions : names of the binary definitions that are written.
    schema : numbering of the label maps.

    Raises
    ------
    InputError
        When there is no such definition.
    """

    def __init__(
        self,
        inferer: Any,
        network: Any,
        output_dir: str,
        definitions: Sequence[str],
        schema: str = "supraspinatus_mri",
    ) -> None:
        self.inferer, self.network, self.output_dir = inferer, network, Path(output_dir)
        self.definitions = [read_definition(name).name for name in definitions]
        self.schema = read_label_schema(schema)
        self.rows: list[tuple[str, dict[str, Any]]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.grade)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def grade(self, engine: Any) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            image = batch["image"]
            grid = Grid(tuple(image.shape[1:]), np.asarray(image.affine.cpu(), dtype=np.float64))
            label_map = LabelMap(np.asarray(output["pred"].cpu())[0].astype(np.uint8), grid, self.schema)
            grading = self.inferer.grade(Volume(np.asarray(image.cpu())[0], grid, "MR"), label_map, self.network)
            file = Path(str(image.meta["filename_or_obj"]))
            row = {"case": f"{file.parent.name}/{file.name}", **self._describe(grading)}
            row |= {"reference_grade": int(batch["grade"])} if "grade" in batch else {}
            self.rows.append((row["case"], row))

    def _describe(self, grading: Any) -> dict[str, Any]:
        if grading is None:
            return {"slice": None, "reason": "no supraspinatus was found", "grade": None}
        return {
            "slice": grading.slice_index,
            "reason": grading.reason,
            "grade": grading.grade,
            "probabilities": {name: grading.probabilities[name] for name in self.definitions},
            "grade_probabilities": list(grading.grade_probabilities),
            "flags": list(grading.flags),
        }

    def write(self, engine: Any) -> None:
        rows = [row for _, row in gather_rows(self.rows, keys=1)]
        if engine.state.rank:
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        (self.output_dir / "gradings.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        columns = ["case", "slice", "grade", *self.definitions, *(f"grade_{grade}" for grade in GRADES)]
        write_csv(self.output_dir / "gradings.csv", columns, (self._cells(row) for row in rows))
        if any("reference_grade" in row for row in rows):
            write_csv(self.output_dir / "grading_scores.csv", _SCORE_COLUMNS, _score(rows, self.definitions))

    def _cells(self, row: dict[str, Any]) -> tuple:
        shares = row.get("probabilities", {})
        grades = row.get("grade_probabilities") or [None] * len(GRADES)
        return (row["case"], row["slice"], row["grade"], *(shares.get(name) for name in self.definitions), *grades)


def _score(rows: Sequence[dict[str, Any]], definitions: Sequence[str]) -> Iterator[tuple]:
    """Rows of ``grading_scores.csv``; what has cases of one class alone is left out."""
    graded = [row for row in rows if row["grade"] is not None and "reference_grade" in row]
    reference = np.array([row["reference_grade"] for row in graded], dtype=int)
    for name in definitions:
        target = DEFINITIONS[name].target(reference)
        share = np.array([row["probabilities"][name] for row in graded])[target >= 0]
        target = target[target >= 0]
        try:
            auroc = compute_auroc(target, share).estimate
        except InputError:
            continue
        decided = compute_decision_scores(target, (share >= 0.5).astype(int))
        scores = {"auroc": auroc}
        scores |= {score: getattr(decided, score) for score in ("accuracy", "sensitivity", "specificity")}
        yield from (_row(name, score, value, len(target), int(target.sum())) for score, value in scores.items())
    try:
        kappa = compute_kappa(reference, [row["grade"] for row in graded], len(GRADES), "quadratic")
    except InputError:
        return
    yield _row("grade", "kappa_quadratic", kappa.estimate, len(graded), None)


def _row(name: str, score: str, value: Estimate | None, cases: int, positives: int | None) -> tuple:
    shown = (None, None, None) if value is None else (value.value, value.lower, value.upper)
    return (name, score, *shown, cases, positives)
