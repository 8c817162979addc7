"""Studies of a PACS by DICOMweb: found by a query (QIDO-RS), fetched to a folder (WADO-RS)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import requests
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from pydicom.datadict import tag_for_keyword
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from myotome.errors import InputError, MyotomeError

__all__ = ["PacsError", "PacsStudy", "fetch_study", "find_studies"]

_ANY_SYNTAX = (("application/dicom", "*"),)
_STUDY, _SERIES, _PATIENT, _INSTANCES = "0020000D", "0020000E", "00100020", "00201208"
_CONNECT_S, _READ_S = 10, 300
_PAGE = 200


class PacsError(MyotomeError):
    """The PACS does not answer, or refuses: not the input's fault, and worth another try."""

    exit_code = 3


@dataclass(frozen=True)
class PacsStudy:
    """One study that a query found; ``instances`` is how many objects the PACS says it has, where it says so."""

    service: str
    study_uid: str
    patient_id: str
    instances: int | None


class _Adapter(HTTPAdapter):
    """Tries again what is worth it, and waits for no answer for ever."""

    def __init__(self) -> None:
        super().__init__(max_retries=Retry(3, backoff_factor=0.5, status_forcelist=(502, 503, 504)))

    def send(self, request: Any, **options: Any) -> Any:
        options["timeout"] = options.get("timeout") or (_CONNECT_S, _READ_S)
        return super().send(request, **options)


@contextmanager
def _client(service: str) -> Iterator[DICOMwebClient]:
    """A client of a service. User and password come from the environment, where no list of processes shows them."""
    user, password = os.environ.get("MYOTOME_DICOMWEB_USER"), os.environ.get("MYOTOME_DICOMWEB_PASSWORD")
    session = create_session_from_user_pass(user, password or "") if user else requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    try:
        yield DICOMwebClient(service, session=session)
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        denied = status in (401, 403)
        advice = "set MYOTOME_DICOMWEB_USER and MYOTOME_DICOMWEB_PASSWORD" if denied else "check its address"
        raise PacsError(f"the PACS at {service} answers {status}: {advice}.") from error
    except (requests.RequestException, OSError, ValueError) as error:
        raise PacsError(f"the PACS at {service} does not answer ({type(error).__name__}): is it running?") from error
    finally:
        session.close()


def find_studies(address: str, modality: str = "CT") -> list[PacsStudy]:
    """Every study that a query finds.

    Parameters
    ----------
    address : the service, with a query of DICOM keywords behind a question mark, such as
        ``https://pacs/dicom-web?StudyDate=20200101-20201231&PatientSex=F``; credentials are read from
        ``MYOTOME_DICOMWEB_USER`` and ``MYOTOME_DICOMWEB_PASSWORD``
    modality : that a study must hold, unless the query names ModalitiesInStudy itself

    Raises
    ------
    InputError
        When the query names something that is not a DICOM keyword, or the address holds a user's name.
    PacsError
        When the service does not answer, or not with studies.
    """
    parts = urlsplit(address)
    if "@" in parts.netloc:
        raise InputError(
            "the address holds a user name, which others can see: set MYOTOME_DICOMWEB_USER and "
            "MYOTOME_DICOMWEB_PASSWORD instead."
        )
    service = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    filters = dict(parse_qsl(parts.query))
    for keyword in filters:
        if tag_for_keyword(keyword) is None:
            raise InputError(f"'{keyword}' in the query is not a DICOM keyword: StudyDate, PatientID ... are.")
    filters.setdefault("ModalitiesInStudy", modality)
    found: dict[str, PacsStudy] = {}
    with _client(service) as client:
        offset = 0
        while True:
            rows = client.search_for_studies(
                search_filters=filters, fields=[_PATIENT, _INSTANCES], limit=_PAGE, offset=offset
            )
            new = {row.study_uid: row for row in (_describe(service, row) for row in rows) if row.study_uid}
            if not new.keys() - found.keys():
                return [found[uid] for uid in sorted(found)]
            found |= new
            offset += len(rows)


def _describe(service: str, row: dict[str, Any]) -> PacsStudy:
    count = _value(row, _INSTANCES)
    return PacsStudy(service, _value(row, _STUDY), _value(row, _PATIENT), int(count) if count else None)


def _value(row: dict[str, Any], tag: str) -> str:
    values = row.get(tag, {}).get("Value") or [""]
    return str(values[0]).strip()


def fetch_study(service: str, study_uid: str, folder: Path, modality: str = "CT") -> list[Path]:
    """Fetch a study's series of one modality, as they are stored, and return the files.

    Raises
    ------
    InputError
        When the study has no series of the modality any more.
    PacsError
        When the service does not answer.
    """
    paths = []
    with _client(service) as client:
        rows = client.search_for_series(study_uid, search_filters={"Modality": modality}, get_remaining=True)
        for row in rows:
            for dataset in client.retrieve_series(study_uid, _value(row, _SERIES), media_types=_ANY_SYNTAX):
                path = folder / f"{len(paths):06d}.dcm"
                dataset.save_as(path, enforce_file_format=True)
                paths.append(path)
    if not paths:
        raise InputError(f"the study has no {modality} series in the PACS (any more): check the query.")
    return paths
