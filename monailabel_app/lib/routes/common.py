"""What the routes share: the app, the reader, uploads, and parameters that come as text."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request, UploadFile

from lib.state import State
from myotome.errors import InputError

__all__ = ["app_of", "client_name", "parse_object", "reader_of", "received"]

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".dcm")


def app_of(request: Request) -> Any:
    """The MyotomeApp behind a request."""
    return request.app.state.label_app


def reader_of(request: Request, params: dict[str, Any]) -> str:
    """Who asks: the session's reader, or else the ``client_id`` that a client without one gives."""
    from lib.security import clean_reader

    return getattr(request.state, "reader", "") or clean_reader(str(params.get("client_id") or "")) or "unknown"


def client_name(request: Request) -> str:
    """3D Slicer's client has no user agent; browsers and scripts do."""
    agent = request.headers.get("user-agent", "")
    return "slicer" if not agent else "browser" if agent.startswith("Mozilla/") else "api"


def parse_object(text: str | None, name: str) -> dict[str, Any]:
    """A JSON object that came as a form field.

    Raises
    ------
    InputError
    """
    try:
        value = json.loads(text or "{}")
    except (json.JSONDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"'{name}' is not a JSON object.")
    return value


def require_model(request: Request, name: str) -> Any:
    """A served bundle, or 404."""
    model = app_of(request).model(name)
    if model is None:
        names = ", ".join(model.name for model in app_of(request).models)
        raise HTTPException(404, f"there is no model '{name[:80]}': the models are {names}.")
    return model


@contextmanager
def received(upload: UploadFile, state: State) -> Iterator[Path]:
    """An uploaded file on the disk, under a name of our own with its suffix; removed at the end."""
    name = (upload.filename or "").lower()
    suffix = next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)
    if suffix is None:
        raise InputError(f"a label is a file that ends in {', '.join(_SUFFIXES)}: save it as one of these.")
    state.temporary.mkdir(parents=True, exist_ok=True)
    path = state.temporary / f"{uuid.uuid4().hex}{suffix}"
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        yield path
    finally:
        path.unlink(missing_ok=True)
