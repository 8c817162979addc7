"""The discs that were found in each image of a run, in a table, and how they agree with those of the reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from myotome.metrics import Matching, ObjectSet, match_objects
from myotome.structures import read_label_schema
from myotome.training.evaluation import gather_rows, write_csv

__all__ = ["DiscTable"]

_COLUMNS = ("case", "structure", "score", *(f"{end}_{axis}" for axis in "xyz" for end in ("first", "end")), "reason")
_SCORE_COLUMNS = ("case", "reference", "found", "missed", "invented", "precision", "recall", "pq", "sq", "rq")


class DiscTable:
    """Writes ``discs.csv``, a row per disc; a handler of the evaluator.

    Structure, score, and the box in voxels of the image's own axes (``end`` is one past the last); an image without a
    disc has one row that says why. Where the list has labels, ``disc_scores.csv`` compares objects at an IoU of 0.5: a
    row per image and one for all of them. Under several processes the first one writes.

    Parameters
    ----------
    inferer : with ``instances`` and ``reason``, such as :class:`myotome.inference.DiscInferer`.
    output_dir : folder for the files.
    schema : numbering of the label maps.
    """

    def __init__(self, inferer: Any, output_dir: str, schema: str = "lumbar_disc_mr") -> None:
        self.inferer, self.output_dir, self.schema = inferer, Path(output_dir), read_label_schema(schema)
        self.rows: list[tuple] = []
        self.matched: list[tuple] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def _clear(self, engine: Any) -> None:
        self.rows.clear()
        self.matched.clear()

    def note(self, engine: Any) -> None:
        """Take down the discs of the image that was just labelled; images come one at a time."""
        (batch,), (output,) = engine.state.batch, engine.state.output
        file = Path(str(batch["image"].meta["filename_or_obj"]))
        case, found = f"{file.parent.name}/{file.name}", self.inferer.instances
        for number, one in enumerate(found):
            ends = [end for pair in zip(*one.box, strict=True) for end in pair]
            self.rows.append((case, number, one.structure, one.score, *ends, self.inferer.reason))
        if not found:
            self.rows.append((case, 0, None, None, *(None,) * 6, self.inferer.reason))
        if "label" in batch:
            labels = (np.asarray(item.cpu())[0].astype(np.uint8) for item in (batch["label"], output["pred"]))
            self.matched.append((case, match_objects(*(self._split(array) for array in labels))))

    def _split(self, array: np.ndarray) -> ObjectSet:
        """The labelled structures, each an object; of label 6 what the reference and the prediction have in all."""
        present = [one.index for one in self.schema.structures if (array == one.index).any()]
        return ObjectSet(tuple(array == index for index in present), labels=tuple(present))

    def write(self, engine: Any) -> None:
        rows, matched = gather_rows(self.rows, keys=2), gather_rows(self.matched, keys=1)
        if engine.state.rank:
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        write_csv(self.output_dir / "discs.csv", _COLUMNS, ((row[0], *row[2:]) for row in rows))
        if matched:
            write_csv(self.output_dir / "disc_scores.csv", _SCORE_COLUMNS, _score(matched))


def _score(matched: list[tuple[str, Matching]]) -> Iterator[tuple]:
    for case, one in (*matched, ("all", Matching.join([one for _, one in matched]))):
        counts = one.found + one.missed, one.found, one.missed, one.invented
        yield (
            case,
            *counts,
            one.precision,
            one.recall,
            one.panoptic_quality,
            one.segmentation_quality,
            one.recognition_quality,
        )
