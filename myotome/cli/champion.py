"""``myotome champion``: the models a label server has used, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from myotome.errors import InputError
from myotome.resources import bundle_root

__all__ = ["champion"]


def champion(
    state: Annotated[Path, typer.Argument(metavar="STATE", help="The server's own folder, such as scans/.myotome.")],
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="Name of the bundle.")],
    back: Annotated[bool, typer.Option("--back", help="Go back to the champion before.")] = False,
    to: Annotated[int | None, typer.Option("--to", min=0, help="Go back to this round; 0 is as shipped.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Show which model a label server uses and how its rounds ended; go back to an earlier one.

    A running server takes the change up with its next request.

    Examples:

        myotome champion scans/.myotome --bundle respiratory_muscle_ct_segmentation

        myotome champion scans/.myotome --bundle respiratory_muscle_ct_segmentation --back
    """
    from rich.console import Console
    from rich.table import Table

    from myotome.active_learning.champions import ChampionHistory

    if not state.is_dir():
        raise InputError(f"there is no folder '{state}': give the one that 'myotome serve' keeps its state in.")
    root = bundle_root(bundle)
    history = ChampionHistory(state / "champions" / root.name, root)
    if back or to is not None:
        history.roll_back(to)
    now = history.current()
    if as_json:
        row = {"round": now.number, "weights_sha256": now.weights_sha256, "events": history.events()}
        print(json.dumps({"bundle": root.name, "rounds": history.rounds(), **row}, indent=1))
        return
    table = Table(title=f"{root.name}: round {now.number} is in use ({now.weights_sha256[:12]})")
    for column in ("Time", "What happened", "Champion", "Challenger", "Difference (95 %)"):
        table.add_column(column)
    for event in history.events():
        verdict = event.get("verdict") or {}
        interval = ""
        if verdict.get("difference") is not None:
            interval = f"{verdict['difference']:+.4f} ({verdict['lower']:+.4f} to {verdict['upper']:+.4f})"
        words = " ".join([event["event"].replace("_", " "), str(event.get("round", ""))]).strip()
        scores = [f"{event[who]['mean_dice']:.4f}" if who in event else "" for who in ("champion", "challenger")]
        table.add_row(event["time"], words, *scores, interval)
    Console().print(table)
