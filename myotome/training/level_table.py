"""Which slice of each image of a run was taken to be which level, and why, in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from myotome.training.evaluation import gather_rows, write_csv

__all__ = ["LevelTable", "VertebraTable"]


class LevelTable:
    """Writes ``levels.csv``, a row per image; a handler of the evaluator.

    Slice (from 0 along the image's inferior-superior axis), the patient's z of it, and confidence are empty where
    nothing was labelled; ``reason`` then says why. ``error_mm`` is the distance from ``l3_z_mm`` of the list, where
    it has it. Under several processes the first one writes.

    Parameters
    ----------
    inferer : with ``level`` and ``refusal``, such as :class:`myotome.inference.L3Inferer`.
    output_dir : folder for the file.
    """

    columns = ("case", "slice", "z_mm", "confidence", "reason", "error_mm")
    keys = 1  # cells that tell rows apart

    def __init__(self, inferer: Any, output_dir: str) -> None:
        self.inferer, self.output_dir = inferer, Path(output_dir)
        self.rows: list[tuple] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def note(self, engine: Any) -> None:
        """Take down the level of the image that was just labelled; images come one at a time."""
        (batch,) = engine.state.batch
        case, level = _case_of(batch), self.inferer.level
        if level is None:
            self.rows.append((case, None, None, None, self.inferer.refusal, None))
            return
        true_mm = batch.get("l3_z_mm")
        error_mm = None if true_mm is None else round(level.z_mm - float(true_mm), 2)
        self.rows.append((case, level.slice_index, round(level.z_mm, 2), level.confidence, level.reason, error_mm))

    def write(self, engine: Any) -> None:
        rows = gather_rows(self.rows, keys=self.keys)
        if engine.state.rank == 0:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            write_csv(self.output_dir / "levels.csv", self.columns, rows)


class VertebraTable(LevelTable):
    """Writes ``levels.csv``, a row per vertebral body that is labelled, from below upwards; a handler of the evaluator.

    Slice (from 0 along the image's inferior-superior axis), the patient's z of it, and confidence are those of the
    body's middle. What is not labelled, a body or a whole image, has a row with its reason alone.

    Parameters
    ----------
    inferer : with ``levels``, ``left_out`` and ``refusal``, such as :class:`myotome.inference.BoneInferer`.
    output_dir : folder for the file.
    """

    columns = ("case", "number", "level", "slice", "z_mm", "confidence", "reason")
    keys = 2

    def note(self, engine: Any) -> None:
        """Take down the bodies of the image that was just labelled; images come one at a time."""
        (batch,) = engine.state.batch
        levels = () if self.inferer.refusal else self.inferer.levels
        found = [
            (level.name, level.slice_index, round(level.z_mm, 2), level.confidence, level.reason) for level in levels
        ]
        reasons = (self.inferer.refusal,) if self.inferer.refusal else self.inferer.left_out
        found += [(None, None, None, None, reason) for reason in reasons]
        self.rows += [(_case_of(batch), number, *row) for number, row in enumerate(found)]


def _case_of(batch: dict[str, Any]) -> str:
    file = Path(str(batch["image"].meta["filename_or_obj"]))
    return f"{file.parent.name}/{file.name}"
