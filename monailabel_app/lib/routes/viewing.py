"""``/info``, signing in, the viewer, the PACS behind it, and our own page."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse

from lib.dicomweb import DicomWebDatastore
from lib.ohif import HEADERS as OHIF_HEADERS
from lib.proxy import fetch, store
from lib.routes.common import app_of
from lib.security import COOKIE, Access, clean_reader
from lib.status import collect_status, render_login, render_status

__all__ = ["router"]

router = APIRouter(tags=["Others"])
_LOCAL_PAGE = re.compile(r"/(?!/)[\w/.-]*")
_HOUSE = "/status"
_DICOMWEB = "/proxy/dicom/{path:path}"


@router.get("/info/", tags=["App"], summary="Models, strategies, trainers and the datastore's counts")
def info(request: Request) -> dict[str, Any]:
    """What MONAI Label's clients ask first."""
    return app_of(request).info()


@router.get("/auth/", summary="Whether a name and the token are needed")
def auth(request: Request) -> dict[str, Any]:
    """3D Slicer asks for a user name and a password then: any name, and the token."""
    return {"enabled": not request.state.signed_in, "client_id": "", "realm": ""}


@router.post("/auth/token", summary="Exchange a reader's name and the token for a session")
def auth_token(request: Request, username: Annotated[str, Form()], password: Annotated[str, Form()]) -> dict[str, str]:
    """The session says who saves."""
    access: Access = request.app.state.access
    if not access.admits(password):
        raise HTTPException(401, "the password is the server's token, which it printed at start-up.")
    return {"access_token": access.session(username or "unknown"), "token_type": "bearer"}


@router.get("/auth/token/valid", summary="Who this session is")
def auth_valid(request: Request) -> dict[str, str]:
    """Reached only with a valid session."""
    return {"username": request.state.reader or "unknown"}


@router.get("/login", include_in_schema=False)
def login_page(request: Request, token: str = "", reader: str = "", next: str = _HOUSE) -> Response:
    """Signs in at once when the address holds the token, as the one printed at start-up does."""
    if token and request.app.state.access.admits(token):
        return _signed_in(request, reader, next)
    return HTMLResponse(render_login(_local(next), wrong=bool(token)))


@router.post("/login", include_in_schema=False)
def login(
    request: Request,
    token: Annotated[str, Form()],
    reader: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = _HOUSE,
) -> Response:
    """The form of `login_page`."""
    if not request.app.state.access.admits(token.strip()):
        return HTMLResponse(render_login(_local(next), wrong=True), status_code=401)
    return _signed_in(request, reader, next)


def _signed_in(request: Request, reader: str, next: str) -> Response:
    response = RedirectResponse(_local(next), status_code=303)
    session = request.app.state.access.session(clean_reader(reader) or "unknown")
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
    return response


def _local(place: str) -> str:
    """A page of this server; nothing that leads elsewhere."""
    return place if _LOCAL_PAGE.fullmatch(place) else _HOUSE


@router.get("/", include_in_schema=False)
def home(request: Request) -> Response:
    """The viewer when there is a PACS, else our page."""
    has_pacs = isinstance(app_of(request).datastore(), DicomWebDatastore)
    return RedirectResponse("/ohif/" if has_pacs else _HOUSE, status_code=303)


@router.get("/favicon.ico", include_in_schema=False)
def favicon() -> Response:
    """None."""
    return Response(status_code=204)


@router.get("/status", include_in_schema=False)
def status_page(request: Request) -> HTMLResponse:
    """Queue, versions, rounds, champions, validation curve, strategy in use."""
    return HTMLResponse(render_status(collect_status(app_of(request))))


@router.get("/status.json", summary="What the status page shows")
def status_json(request: Request) -> JSONResponse:
    """The same, for machines."""
    return JSONResponse(collect_status(app_of(request)))


@router.get("/ohif/{path:path}", include_in_schema=False)
def ohif(request: Request, path: str) -> Response:
    """The viewer's own files."""
    found = request.app.state.ohif.read(path)
    if found is None:
        raise HTTPException(404, "the viewer has no such file.")
    return Response(found[0], media_type=found[1], headers=OHIF_HEADERS)


def _pacs(request: Request) -> DicomWebDatastore:
    datastore = app_of(request).datastore()
    if not isinstance(datastore, DicomWebDatastore):
        raise HTTPException(404, "the images come from a folder: there is no PACS to look into.")
    return datastore


@router.get(_DICOMWEB, include_in_schema=False)
async def pacs_get(request: Request, path: str) -> StreamingResponse:
    """DICOMweb reading (QIDO-RS, WADO-RS), with its query string."""
    base = _pacs(request).url
    reply = await fetch(request.app.state.pacs_client, base, path, request.url.query, request.headers)
    return StreamingResponse(reply.body, status_code=reply.status, headers=reply.headers)


@router.post(_DICOMWEB, include_in_schema=False)
async def pacs_post(request: Request, path: str) -> JSONResponse:
    """STOW-RS of segmentations: they become label versions, and are stored in the PACS as such."""
    datastore = _pacs(request)
    if not re.fullmatch(r"studies(/[0-9.]{1,64})?", path.strip("/")):
        raise HTTPException(403, "only segmentations can be stored, at /proxy/dicom/studies.")
    body, kind = await request.body(), request.headers.get("content-type", "")
    reply = await run_in_threadpool(store, datastore, body, kind, request.state.reader or "unknown")
    return JSONResponse(reply, media_type="application/dicom+json")
