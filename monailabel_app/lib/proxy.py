"""The PACS as a browser may see it: DICOMweb reading, and storing of segmentations, which become label versions."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from requests_toolbelt.multipart.decoder import (
    ImproperBodyPartContentException,
    MultipartDecoder,
    NonMultipartContentTypeException,
)

from lib.dicomweb import DicomWebDatastore, PacsUnreachable
from myotome.active_learning.annotations import Annotation, Authorship
from myotome.errors import InputError, MyotomeError
from myotome.io.dicom_files import is_dicom

__all__ = ["Forbidden", "PacsReply", "fetch", "store"]

_UID = r"[0-9.]{1,64}"
_ALLOWED = re.compile(
    rf"(studies|series|instances|studies/{_UID}(/(series|instances|metadata|rendered|thumbnail)"
    rf"|/series/{_UID}(/(instances|metadata|rendered|thumbnail)"
    rf"|/instances/{_UID}(/(metadata|rendered|thumbnail|frames/[0-9,]{{1,200}}(/rendered)?|bulk(data)?/[\w/]{{1,200}}))?)?)?)"
)
_TIMEOUT = httpx.Timeout(30.0, read=300.0)
_PASSED_ON = ("content-type", "content-length", "content-encoding", "etag")


class Forbidden(MyotomeError):
    """Not something a viewer needs."""


@dataclass(frozen=True)
class PacsReply:
    """Status, headers and body of the PACS's answer; the body is read while it is sent on."""

    status: int
    headers: dict[str, str]
    body: AsyncIterator[bytes]


async def fetch(client: httpx.AsyncClient, base: str, path: str, query: str, headers: Mapping[str, str]) -> PacsReply:
    """GET a DICOMweb resource, query string and all.

    Raises
    ------
    Forbidden
        When the path is no DICOMweb resource; nothing else of the PACS can be reached.
    PacsUnreachable
        When the PACS does not answer.
    """
    path = path.strip("/")
    if not _ALLOWED.fullmatch(path):
        raise Forbidden("only DICOMweb (studies, series, instances, frames, metadata) is passed on to the PACS.")
    request = client.build_request("GET", f"{base}/{path}?{query}".rstrip("?"), headers=_passed(headers))
    try:
        reply = await client.send(request, stream=True)
    except httpx.HTTPError as error:
        raise PacsUnreachable(f"the PACS does not answer ({type(error).__name__}).") from error

    async def body() -> AsyncIterator[bytes]:
        try:
            async for piece in reply.aiter_raw():
                yield piece
        finally:
            await reply.aclose()

    headers = {key: reply.headers[key] for key in _PASSED_ON if key in reply.headers}
    return PacsReply(reply.status_code, headers, body())


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    """What the PACS is told of the viewer's request; no credentials, no cookies."""
    return {"accept": headers.get("accept", "*/*"), "accept-encoding": headers.get("accept-encoding", "identity")}


def new_client(credentials: tuple[str, str] | None) -> httpx.AsyncClient:
    """A client that keeps its connections to the PACS, and follows no redirect out of it."""
    return httpx.AsyncClient(auth=credentials, timeout=_TIMEOUT, follow_redirects=False, trust_env=False)


def store(datastore: DicomWebDatastore, body: bytes, content_type: str, reader: str) -> dict[str, Any]:
    """Take segmentations that a viewer stores (STOW-RS): each becomes a label version, and that is what is stored.

    Returns
    -------
    dict : the STOW-RS reply (PS3.18), which names what was received

    Raises
    ------
    InputError
        When it is not a STOW request, or holds anything but a segmentation of an image here.
    """
    try:
        parts = [part.content for part in MultipartDecoder(body, content_type).parts]
    except (
        ImproperBodyPartContentException,
        NonMultipartContentTypeException,
        LookupError,
        ValueError,
        AttributeError,
    ) as error:
        raise InputError("that is no multipart/related request with DICOM parts: export from the viewer.") from error
    if not parts:
        raise InputError("the request holds no DICOM object: export from the viewer.")
    received = [_store_one(datastore, part, reader) for part in parts]
    return {"00081199": {"vr": "SQ", "Value": received}}


def _store_one(datastore: DicomWebDatastore, part: bytes, reader: str) -> dict[str, Any]:
    from pydicom import dcmread
    from pydicom.uid import SegmentationStorage

    path = _write_temporary(datastore.state.temporary, part)
    try:
        if not is_dicom(path):
            raise InputError("a part of the request is not a DICOM object: export from the viewer.")
        header = dcmread(path, stop_before_pixels=True)
        if header.get("SOPClassUID") != SegmentationStorage:
            raise Forbidden("only segmentations are taken from a viewer: send images to the PACS itself.")
        annotation: Annotation = datastore.read_foreign(path, header, Authorship(author=reader, client="ohif"))
    finally:
        path.unlink(missing_ok=True)
    return {
        "00081150": {"vr": "UI", "Value": [str(header.SOPClassUID)]},
        "00081155": {"vr": "UI", "Value": [str(header.get("SOPInstanceUID", ""))]},
        "00081190": {"vr": "UR", "Value": [datastore.stored_series(annotation) or ""]},
    }


def _write_temporary(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.dcm"
    path.write_bytes(content)
    return path
