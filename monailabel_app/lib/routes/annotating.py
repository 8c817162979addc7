"""``/datastore``: images, labels and their versions."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Request, Response, UploadFile
from fastapi.responses import FileResponse

from lib.datastores import FINAL, ORIGINAL
from lib.routes.common import app_of, client_name, parse_object, reader_of, received
from lib.state import measurements_of
from myotome.active_learning.annotations import Authorship
from myotome.errors import InputError

__all__ = ["router"]

router = APIRouter(prefix="/datastore", tags=["Datastore"])


class Listing(StrEnum):
    """``stats`` counts, ``all`` lists every image with its labels, ``train`` pairs paths."""

    train = "train"
    stats = "stats"
    all = "all"


@router.get("/", summary="What is in the datastore", response_model=None)
def listing(request: Request, output: Listing = Listing.stats) -> dict[str, Any] | list[dict[str, Any]]:
    """Images and labels, in the shape that was asked for; drafts are listed under the tag ``original``."""
    app = app_of(request)
    store = app.datastore()
    if output == Listing.train:
        return store.datalist()
    if output == Listing.stats:
        return store.status()
    table = store.json()
    weights = {model.name: model.champion.weights_sha256 for model in app.models}
    for image, row in table["objects"].items():
        model = app.model_at(image)
        path = measurements_of(model.state.draft(model.name, weights[model.name], image))
        if path.is_file():
            # 3D Slicer loads a draft that is here by itself, and names its segments by these.
            names = parse_object(path.read_text(), "draft")["label_names"]
            row["labels"][ORIGINAL] = {
                "ext": ".nii.gz",
                "info": {"params": {"label_names": names}, "model": model.name},
            }
    return table


@router.get("/image", summary="Download an image as NIfTI")
def image(request: Request, image: str) -> FileResponse:
    """The image as one file; a DICOM series is converted."""
    store = app_of(request).datastore()
    path = store.image_file(image)
    return FileResponse(path, media_type="application/octet-stream", filename=store.file_name(image))


@router.head("/image", summary="Whether there is such an image")
def has_image(request: Request, image: str) -> Response:
    """200, or 404."""
    app_of(request).datastore().require_image(image)
    return Response()


@router.get("/image/info", summary="About an image")
def image_info(request: Request, image: str) -> dict[str, Any]:
    """Name, path, and who holds it."""
    app = app_of(request)
    held = app.reservations.held().get(image)
    return {**app.datastore().get_image_info(image), "reserved_by": held.reader if held else None}


@router.put("/label", summary="Save a label as a new version")
def save_label(
    request: Request,
    image: str,
    label: Annotated[UploadFile, File()],
    params: Annotated[str, Form()] = "{}",
    tag: str = FINAL,
) -> dict[str, Any]:
    """Check the label, renumber it by the names of its segments, keep it; the versions before stay readable."""
    app = app_of(request)
    store = app.datastore()
    if tag not in ("", FINAL):
        raise InputError(f"labels are saved under the tag '{FINAL}': leave the tag out.")
    wanted = parse_object(params, "params")
    reader = reader_of(request, wanted)
    store.require_image(image)
    held = app.reservations.held().get(image)
    mine = held is not None and held.reader == reader
    newest = store.annotations.newest(image)
    model = app.model_at(image)
    draft = app._infers[model.name].draft_path(image)
    authorship = Authorship(
        author=reader,
        client=client_name(request),
        model=model.champion.weights_sha256 if draft.is_file() else None,
        parent=held.parent if mine else newest.version if newest else None,
    )
    with received(label, store.state) as path:
        annotation = store.save_annotation(image, path, wanted, authorship)
    app.reservations.release(image, reader)
    return {"image": image, "label": image, **annotation.to_json()}


@router.get("/label", summary="Download a label: the newest version, or a given one")
def label(request: Request, label: str, tag: str = FINAL, version: str | None = None) -> FileResponse:
    """The label map as NIfTI; under the tag ``original``, the champion's draft."""
    app = app_of(request)
    store = app.datastore()
    if tag == ORIGINAL:
        path = app._infers[app.model_at(store.require_image(label)).name].draft_path(label)
        if not path.is_file():
            raise HTTPException(404, "there is no draft of this image yet: ask for one by /infer.")
    elif tag in ("", FINAL):
        path = store.find_label(label, version).path
    else:
        raise InputError(f"the tag is '{FINAL}' for labels, or '{ORIGINAL}' for drafts.")
    return FileResponse(path, media_type="application/octet-stream", filename=f"{label.split('/')[-1]}.nii.gz")


@router.head("/label", summary="Whether an image has a label")
def has_label(request: Request, label: str = "", image: str = "", tag: str = FINAL) -> Response:
    """200, or 404."""
    app_of(request).datastore().find_label(label or image)
    return Response()


@router.get("/label/info", summary="About the newest version of a label")
def label_info(request: Request, label: str, tag: str = FINAL, version: str | None = None) -> dict[str, Any]:
    """Author, time, client, model, parent, voxels of each structure."""
    return app_of(request).datastore().find_label(label, version).to_json()


@router.get("/label/versions", summary="Every version of an image's label, oldest first")
def versions(request: Request, image: str) -> list[dict[str, Any]]:
    """All versions; none is ever removed."""
    store = app_of(request).datastore()
    return [annotation.to_json() for annotation in store.annotations.versions(store.require_image(image))]


@router.get("/label/agreement", summary="How far readers of one image agree")
def agreement(request: Request, image: str) -> list[dict[str, Any]]:
    """Dice, volume and density differences of each pair of readers, from the newest version of each."""
    app = app_of(request)
    return app.agreements.of_image(app.datastore().require_image(image))
