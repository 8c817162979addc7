"""Our own page: what the readers, the models and the machine are at."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from lib.dicomweb import DicomWebDatastore
from lib.trainers import read_progress
from myotome import __version__

__all__ = ["collect_status", "render_login", "render_status"]

_PAGES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_SHOWN_LABELS = 200
_WIDTH, _HEIGHT, _MARGIN = 560, 180, 34


def collect_status(app: Any) -> dict[str, Any]:
    """All that the page shows, as plain values."""
    store = app.datastore()
    held = app.reservations.held()
    labelled = sorted(store.labelled())
    now = time.time()
    return {
        "version": __version__,
        "source": store.name(),
        "pacs": isinstance(store, DicomWebDatastore),
        "counts": store.status(),
        "strategy": next(iter(app._strategies)),
        "strategies": {name: task.description for name, task in app._strategies.items()},
        "inference": {"running": app.worker().running, "waiting": app.worker().waiting},
        "reservations": [{**asdict(row), "hours_left": (row.until - now) / 3600} for row in held.values()],
        "labels": [_label_row(store, image) for image in labelled[:_SHOWN_LABELS]],
        "agreements": app.agreements.overview(),
        "models": [_model_row(app, model) for model in app.models],
    }


def _label_row(store: Any, image: str) -> dict[str, Any]:
    versions = store.annotations.versions(image)
    newest = versions[-1]
    return {
        "image": image,
        "versions": len(versions),
        "newest": newest.version,
        "created": newest.created,
        "author": newest.authorship.author,
        "readers": sorted({version.authorship.author for version in versions}),
        "voxels": newest.voxels,
    }


def _model_row(app: Any, model: Any) -> dict[str, Any]:
    history = model.history
    champion = history.current()
    events = history.events()
    scoring = next((scoring for scoring in app.scoring if scoring.model is model), None)
    return {
        "name": model.name,
        "champion": champion.number,
        "weights_sha256": champion.weights_sha256,
        "rounds": history.rounds(),
        "events": events[::-1],
        "progress": read_progress(model),
        "unscored": len(scoring.todo()) if scoring else None,
        "curve": [
            {
                "time": event["time"],
                "champion": event["champion"]["mean_dice"],
                "challenger": event["challenger"]["mean_dice"],
                "published": event["event"] == "published",
            }
            for event in events
            if "challenger" in event
        ],
    }


def render_status(status: dict[str, Any]) -> str:
    """The page."""
    curves = {model["name"]: _draw_curve(model["curve"]) for model in status["models"]}
    return _PAGES.get_template("status.html.j2").render(**status, curves=curves)


def render_login(next: str, wrong: bool = False) -> str:
    """The form that asks for the token."""
    return _PAGES.get_template("login.html.j2").render(next=next, wrong=wrong)


def _draw_curve(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Points of the validation curve in an SVG of `_WIDTH` x `_HEIGHT`: Dice 0 to 1 upwards, rounds to the right."""
    if not rows:
        return None
    step = (_WIDTH - 2 * _MARGIN) / max(1, len(rows) - 1)

    def place(index: int, dice: float) -> tuple[float, float]:
        return round(_MARGIN + index * step, 1), round(_HEIGHT - _MARGIN - dice * (_HEIGHT - 2 * _MARGIN), 1)

    after = [max(row["champion"], row["challenger"]) if row["published"] else row["champion"] for row in rows]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "margin": _MARGIN,
        "line": " ".join(f"{x},{y}" for x, y in (place(i, dice) for i, dice in enumerate(after))),
        "points": [
            {
                "at": place(i, row["challenger"]),
                "published": row["published"],
                "dice": row["challenger"],
                "time": row["time"],
            }
            for i, row in enumerate(rows)
        ],
    }
