"""``myotome engines``: which engines can compute a bundle's networks here, and how they agree with PyTorch eager."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from myotome.cli.analyze import Device

__all__ = ["engines"]


def engines(
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Name of a shipped bundle, or a bundle's folder.")
    ] = "respiratory_muscle_ct_segmentation",
    device: Annotated[Device, typer.Option("--device", help="Where the network runs.")] = Device.auto,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that auto never takes; a minute or two more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every engine that can run here against PyTorch eager, on a phantom.

    In float32, 0.9999 of the labels must be equal; in a reduced precision, Dice must be 0.999. An engine that falls
    short is not used. Each is checked once per machine and bundle; `myotome analyze` does it by itself when it must.

    Example: myotome engines --bundle respiratory_muscle_ct_segmentation
    """
    rows = list(_check(bundle, device.value, every, quiet=as_json))
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("engine", "precision", "labels equal", "Dice", "ms per slice", "used")
    for row in rows:
        cells = ("", row["reason"], "")
        if row["reason"] is None:
            cells = (f"{row['labels_equal']:.6f}", f"{row['dice']:.5f}", f"{1000 * row['seconds_per_slice']:.0f}")
        table.add_row(row["engine"], row["precision"], *cells, "yes" if row["agrees"] else "no")
    Console().print(table)


def _check(bundle: str, device: str, every: bool, quiet: bool) -> Iterator[dict[str, Any]]:
    from myotome.inference import BundleSegmenter
    from myotome.inference.engines import ENGINES, PRECISIONS, EngineError, rank_engines

    segmenter = BundleSegmenter(bundle, device=device, engine="auto", precision="float32")
    chosen = [
        (name, precision)
        for precision in PRECISIONS
        for name in (ENGINES if every else rank_engines(precision, segmenter.device))
        if precision in ENGINES[name].precisions and (name, precision) != ("eager", "float32")
    ]
    watched = Console(stderr=True)
    for name, precision in track(chosen, "checking", console=watched, disable=quiet or not watched.is_terminal):
        row: dict[str, Any] = {"engine": name, "precision": precision, "agrees": False, "reason": None}
        try:
            found = segmenter.check_engine(name, precision)
        except EngineError as error:
            yield row | {"reason": str(error)}
            continue
        yield row | {
            "agrees": found.enough_for(precision),
            "labels_equal": found.equal,
            "dice": found.dice,
            "seconds_per_slice": found.seconds_per_slice,
        }
