"""``/infer``, ``/batch/infer`` and ``/activelearning``: which image is next, and what the model makes of it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

from fastapi import APIRouter, Body, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response
from requests_toolbelt import MultipartEncoder

from lib.routes.common import app_of, parse_object, reader_of, require_model
from lib.worker import SOON
from myotome.errors import InputError, MyotomeError

__all__ = ["router"]

router = APIRouter()
_LOG = logging.getLogger("myotome.server")
_EXTENSIONS = (".nii.gz", ".nii", ".nrrd")


class Output(StrEnum):
    """What ``/infer`` replies: the label map, the measurements, both, or the label map as DICOM SEG."""

    image = "image"
    json = "json"
    all = "all"
    dicom_seg = "dicom_seg"


@router.post("/infer/{model}", tags=["Infer"], summary="Draft: label map and measurements of an image")
async def infer(
    request: Request,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,
    output: Output | None = None,
) -> Response:
    """Segment and measure an image of the datastore; the numbers are those of ``myotome analyze``."""
    require_model(request, model)
    if file is not None or session_id:
        raise HTTPException(403, "images are not uploaded here: put them into the studies folder or the PACS.")
    wanted = parse_object(params, "params")
    extension = str(wanted.get("result_extension") or ".nii.gz")
    if extension not in _EXTENSIONS:
        raise InputError(f"'result_extension' is none of {', '.join(_EXTENSIONS)}.")
    app = app_of(request)
    begun = time.perf_counter()
    source = await run_in_threadpool(lambda: Path(app.datastore().get_image_uri(image)))
    app.datastore().draft_was_asked(image, model)
    task = app._infers[model]
    # Others may wait for the same draft: one who goes away does not take it from them.
    reply = dict(await asyncio.shield(asyncio.wrap_future(task.draft(image, source))))
    reply["centroids"] = {}
    reply["latencies"] = {**reply["latencies"], "request": round(time.perf_counter() - begun, 2)}
    if output == Output.json:
        return JSONResponse(reply)
    path = task.draft_path(image)
    if output == Output.dicom_seg:
        return await run_in_threadpool(_as_segmentation, app, image, path, task.model)
    compress = wanted.get("result_compress") is not False
    content = await run_in_threadpool(_in_format, path, extension, compress, app.state.temporary)
    name = f"{model}{extension}"
    if output == Output.image:
        disposition = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="application/octet-stream", headers=disposition)
    fields = {
        "params": (None, json.dumps(reply), "application/json"),
        "image": (name, content, "application/octet-stream"),
    }
    encoder = MultipartEncoder(fields=fields)
    return Response(content=encoder.to_string(), media_type=encoder.content_type)


def _in_format(path: Path, extension: str, compress: bool, folder: Path) -> bytes:
    """The label map's file, converted when the client wants another format."""
    if extension == ".nii.gz":
        return path.read_bytes()
    import tempfile

    import SimpleITK

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        target = Path(place) / f"draft{extension}"
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(target), compress)
        return target.read_bytes()


def _as_segmentation(app: Any, image: str, path: Path, model: Any) -> Response:
    from lib.segmentations import write_draft_segmentation

    target = write_draft_segmentation(app.datastore(), image, path, model)
    if target is None:
        raise HTTPException(404, "nothing was found in this image, and a DICOM SEG cannot be empty.")
    content = target.read_bytes()
    target.unlink()
    return Response(content, media_type="application/dicom")


class Images(StrEnum):
    """Which images a batch takes."""

    all = "all"
    labeled = "labeled"
    unlabeled = "unlabeled"


@router.post("/batch/infer/{model}", tags=["Infer"], summary="Make drafts of many images in the background")
def batch_infer(request: Request, model: str, images: Images = Images.unlabeled) -> dict[str, Any]:
    """Queue a draft of each image behind those that readers wait for; made drafts are kept, and made only once."""
    require_model(request, model)
    app = app_of(request)
    store = app.datastore()
    chosen = {
        Images.all: store.list_images,
        Images.labeled: store.get_labeled_images,
        Images.unlabeled: store.get_unlabeled_images,
    }
    ids = chosen[images]()
    Thread(target=_draft_all, args=(app._infers[model], store, ids), name="batch", daemon=True).start()
    return {"status": "SUBMITTED", "images": len(ids)}


def _draft_all(task: Any, store: Any, images: list[str]) -> None:
    """One after the other, so that a PACS is not asked for all of them at once."""
    for image in images:
        try:
            task.draft(image, Path(store.get_image_uri(image)), SOON).result()
        except MyotomeError as error:
            _LOG.warning("an image of the batch has no draft: %s", error)


@router.post("/activelearning/{strategy}", tags=["ActiveLearning"], summary="Reserve the next image for a reader")
def next_sample(
    request: Request, strategy: str, params: Annotated[dict[str, Any] | None, Body()] = None
) -> dict[str, Any]:
    """The next image, kept for this reader; ``{}`` when none is left. Its draft is begun at once."""
    app = app_of(request)
    if strategy not in app._strategies:
        raise HTTPException(404, f"there is no strategy '{strategy[:40]}': they are {', '.join(app._strategies)}.")
    wanted = {**(params or {}), "reader": reader_of(request, params or {})}
    chosen = app._strategies[strategy](wanted, app.datastore())
    if not chosen:
        return {}
    store = app.datastore()
    path = store.get_image_uri(chosen["id"])
    name = wanted.get("model") or store.bundle_in_use() or app.models[0].name
    if app.model(str(name)):
        app._infers[name].draft(chosen["id"], Path(path), SOON)
    return {**chosen, **store.get_image_info(chosen["id"])}


@router.delete("/activelearning/reservation", tags=["ActiveLearning"], summary="Give an image back")
def release(request: Request, image: Annotated[str, Query()]) -> dict[str, Any]:
    """End this reader's reservation of an image."""
    held = app_of(request).reservations.release(image, reader_of(request, {}))
    return {"released": held is not None}


@router.get("/draft", tags=["Infer"], summary="A draft that was made before")
def kept_draft(request: Request, model: str, image: str) -> FileResponse:
    """The champion's draft as NIfTI, or 404 when there is none yet."""
    require_model(request, model)
    app = app_of(request)
    path = app._infers[model].draft_path(app.datastore().require_image(image))
    if not path.is_file():
        raise HTTPException(404, "there is no draft of this image yet: ask for one by /infer.")
    return FileResponse(path, media_type="application/octet-stream", filename=f"{model}.nii.gz")
