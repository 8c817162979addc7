"""``/train`` and ``/champion``: rounds of training, and the models in use so far."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import processes, tasks

from lib.routes.common import app_of, require_model
from lib.trainers import RoundRequest, read_progress

__all__ = ["router"]

router = APIRouter(tags=["Train"])
_UNFINISHED = ("SUBMITTED", "RUNNING")


@router.get("/train/", summary="The training under way, or the last one", response_model=None)
def status(request: Request, all: bool = False, check_if_running: bool = False) -> Any:
    """The task with its last lines; 404 when there is none."""
    found, reason = AsyncTask.status("train", all, check_if_running)
    if found is None:
        raise HTTPException(404, reason)
    progress = {model.name: read_progress(model) for model in app_of(request).models}
    tasks = [_shown(task) for task in (found if isinstance(found, list) else [found])]
    return tasks if isinstance(found, list) else {**tasks[0], "progress": progress}


@router.post("/train/", summary="Start a round of training of every bundle")
async def start_all(
    request: Request, params: Annotated[dict[str, Any] | None, Body()] = None
) -> dict[str, dict[str, Any]]:
    """Rounds one after the other; ``params`` may hold those of each bundle by its name."""
    given = params or {}
    names = [model.name for model in app_of(request).models if model.trainable]
    wanted = {name: _known(given[name] if isinstance(given.get(name), dict) else {}) for name in names}
    return {name: await _start(name, options, enqueue=True) for name, options in wanted.items()}


@router.post("/train/{model}", summary="Start a round of training")
async def start(
    request: Request, model: str, params: Annotated[dict[str, Any] | None, Body()] = None, enqueue: bool = False
) -> dict[str, Any]:
    """Train a challenger on the labels; it replaces the champion only when it is better on held-out patients."""
    if not require_model(request, model).trainable:
        raise HTTPException(404, f"'{model}' has no training config.")
    return await _start(model, _known(params or {}), enqueue)


def _known(params: dict[str, Any]) -> dict[str, Any]:
    """What a round takes of a client's parameters, which name much more; refused when it makes no sense."""
    RoundRequest.from_client(params)
    return {key: params[key] for key in ("pretrained", "iterations") if key in params}


async def _start(model: str, params: dict[str, Any], enqueue: bool) -> dict[str, Any]:
    waiting = [
        task for task in tasks("train") if task["request"].get("model") == model and task["status"] in _UNFINISHED
    ]
    if enqueue and waiting:
        return _shown(waiting[-1])  # asking again makes the queue no longer
    task, reason = await run_in_threadpool(
        lambda: AsyncTask.run("train", request={"model": model}, params=params, enqueue=enqueue)
    )
    if task is None:
        raise HTTPException(429, reason)
    return _shown(task)


@router.delete("/train/", summary="Stop the training", response_model=None)
def stop(request: Request) -> dict[str, Any] | None:
    """Stop it; the champion stays, and the round goes on from its checkpoints when it is started again."""
    if not processes("train"):
        raise HTTPException(404, "no training is under way.")
    task = AsyncTask.stop("train")
    return _shown(task) if task else None


def _shown(task: dict[str, Any]) -> dict[str, Any]:
    return {**task, "details": list(task.get("details", []))}


@router.get("/champion/{model}", summary="The model in use, and those before it")
def champions(request: Request, model: str) -> dict[str, Any]:
    """Round in use, rounds there are, and what happened when."""
    history = require_model(request, model).history
    champion = history.current()
    return {
        "round": champion.number,
        "weights_sha256": champion.weights_sha256,
        "rounds": history.rounds(),
        "events": history.events(),
    }


@router.post("/champion/{model}/rollback", summary="Go back to an earlier model")
def roll_back(request: Request, model: str, to: int | None = None) -> dict[str, Any]:
    """Make the champion before, or a given round, the champion again."""
    champion = require_model(request, model).history.roll_back(to)
    return {"round": champion.number, "weights_sha256": champion.weights_sha256}
