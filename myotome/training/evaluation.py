"""Scoring a bundle's label maps, case by case, on the grid of the images as they were made."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor, distributed

from myotome.geometry import Grid, Volume
from myotome.metrics import score_label_map
from myotome.networks import replace_file
from myotome.structures import LabelMap, read_label_schema

__all__ = ["CaseScores", "MaskedBatch", "gather_rows", "write_csv"]

_COLUMNS = ("case", "structure", "score", "value", "unit")
_SUMMARY_COLUMNS = ("structure", "score", "unit", "cases", "mean", "mean_absolute", "sd", "worst_case")


class MaskedBatch:
    """``prepare_batch`` for stage 3 alone: the network gets the image and the reference."""

    def __call__(
        self, batch: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor, tuple[Tensor], dict]:
        return batch["image"], batch["label"], (batch["label"],), {}


class CaseScores:
    """Scores each case with :func:`myotome.metrics.score_label_map`; a handler of the evaluator.

    Writes ``scores.csv`` (one row per case, structure and score) and ``summary.csv`` (mean over the cases where the
    score is defined, and the case that is worst), and puts the means of Dice into ``engine.state.metrics``. Under
    several processes the first one gathers and writes.

    Parameters
    ----------
    output_dir : folder for the two files.
    schema : numbering of both label maps.
    image : key of the image in HU, for the density error; ``None`` for an image in other units.
    label, pred : keys of the reference and the prediction.
    ignored : label of the reference where nothing was annotated; such voxels count nowhere.
    """

    def __init__(
        self,
        output_dir: str,
        schema: str = "respiratory_muscle_ct",
        image: str | None = "image",
        label: str = "label",
        pred: str = "pred",
        ignored: int | None = None,
    ) -> None:
        self.output_dir, self.image, self.label, self.pred = Path(output_dir), image, label, pred
        self.schema, self.ignored = read_label_schema(schema), ignored
        self.rows: list[tuple] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.score)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def score(self, engine: Any) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            label = batch[self.label]
            affine = np.asarray(label.affine.cpu(), dtype=np.float64)
            grid = Grid(tuple(label.shape[1:]), affine)
            arrays = [np.asarray(item.cpu())[0].astype(np.uint8) for item in (label, output[self.pred])]
            left_out = arrays[0] == self.ignored
            reference, prediction = (
                LabelMap(np.where(left_out, 0, array).astype(np.uint8), grid, self.schema) for array in arrays
            )
            volume = Volume(np.asarray(batch[self.image].cpu())[0], grid) if self.image in batch else None
            file = Path(str(label.meta["filename_or_obj"]))
            case = f"{file.parent.name}/{file.name}"
            scores = score_label_map(reference, prediction, volume)
            self.rows += [(case, row.structure, row.score, row.value, row.unit) for row in scores]

    def write(self, engine: Any) -> None:
        rows = gather_rows(self.rows)
        summary = _summarise(rows)
        engine.state.metrics.update({f"{row[0]}_dice": row[4] for row in summary if row[1] == "dice"})
        if engine.state.rank == 0:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            write_csv(self.output_dir / "scores.csv", _COLUMNS, rows)
            write_csv(self.output_dir / "summary.csv", _SUMMARY_COLUMNS, summary)


def gather_rows(rows: list[tuple], keys: int = 3) -> list[tuple]:
    """The rows of all processes in the order of their cases, each once: told apart by their first ``keys`` cells."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return sorted(rows, key=lambda row: row[0])
    gathered: list = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, rows)
    return sorted({row[:keys]: row for part in gathered for row in part}.values(), key=lambda row: row[0])


def _summarise(rows: Iterable[tuple]) -> list[tuple]:
    groups: dict[tuple, list[tuple]] = {}
    for case, structure, score, value, unit in rows:
        group = groups.setdefault((structure, score, unit), [])
        if value is not None:
            group.append((value, case))
    summary = []
    for (structure, score, unit), pairs in groups.items():
        values = [value for value, _ in pairs]
        higher_is_better = "dice" in score or score == "nsd"
        worst = min(pairs, key=lambda pair: pair[0] if higher_is_better else -abs(pair[0]))[1] if pairs else ""
        figures = (np.mean(values), np.mean(np.abs(values)), np.std(values)) if values else ()
        mean, absolute, sd = (float(figure) for figure in figures) if values else (None, None, None)
        summary.append((structure, score, unit, len(values), mean, absolute, sd, worst))
    return summary


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[tuple]) -> None:
    """A table, whole or not at all; ``None`` is an empty cell."""
    with replace_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
