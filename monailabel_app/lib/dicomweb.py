"""Images and segmentations of a PACS, by DICOMweb."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass

from lib.datastores import MyotomeDatastore, UnknownImage
from lib.state import State
from myotome.active_learning.annotations import Annotation, Authorship
from myotome.errors import InputError, MyotomeError
from myotome.io.atomic import atomic_folder, atomic_path
from myotome.io.dicom_segmentation import write_segmentation
from myotome.measurement import Provenance
from myotome.structures import LabelSchema

__all__ = ["DicomWebDatastore", "PacsUnreachable"]

_LOG = logging.getLogger(__name__)
_RELIST_S = 5.0
_ANY_SYNTAX = (("application/dicom", "*"),)
_STUDY, _SERIES, _PATIENT, _CREATED = "0020000D", "0020000E", "00100020", "00080021"


class PacsUnreachable(MyotomeError):
    """The PACS does not answer, or refuses."""


@dataclass(frozen=True)
class _Series:
    uid: str
    study: str
    patient: str
    date: str
    modality: str


class DicomWebDatastore(MyotomeDatastore):
    """Series of a PACS; an image's id is its SeriesInstanceUID.

    Series are fetched once, as they are stored. A saved label is kept here first, then stored in the PACS as a DICOM
    SEG; what could not be stored is stored when it answers. Segmentations that others stored in the PACS become
    versions here, by author ``PACS``; those that cannot be read are passed over, with the reason in the log.

    Parameters
    ----------
    url : of the DICOMweb service, such as ``http://127.0.0.1:8042/dicom-web``
    modalities : of the series that are listed
    credentials : user name and password for HTTP basic authentication
    """

    def __init__(
        self,
        url: str,
        state: State,
        schemas: Mapping[str, LabelSchema],
        modalities: Iterable[str] = ("CT",),
        credentials: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(state, schemas)
        self.url = url.rstrip("/")
        self.modalities = tuple(modalities)
        self.credentials = credentials
        session = create_session_from_user_pass(*credentials) if credentials else requests.Session()
        self._client = DICOMwebClient(self.url, session=session)
        self._listing, self._fetching, self._storing = threading.Lock(), threading.Lock(), threading.Lock()
        self._next_listing = 0.0
        self._series: dict[str, _Series] = {}
        self._ledger = _Ledger(state.pacs)
        self._given_up: set[tuple[str, str]] = set()
        self._elsewhere: set[str] = set()

    def name(self) -> str:
        return self.url

    def refresh(self) -> None:
        self._next_listing = 0.0

    def list_images(self) -> list[str]:
        return sorted(self._list())

    def patient(self, image_id: str) -> str:
        return self._find(image_id).patient or image_id

    def source(self, image_id: str) -> Path:
        series = self._find(image_id)
        folder = self.state.downloads / series.uid
        with self._fetching:
            if not folder.is_dir():
                with atomic_folder(folder) as temporary:
                    for number, dataset in enumerate(self._retrieve(series)):
                        dataset.save_as(temporary / f"{number:05d}.dcm", enforce_file_format=True)
        return folder

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        series = self._find(image_id)
        more = {
            "SeriesInstanceUID": series.uid,
            "StudyInstanceUID": series.study,
            "PatientID": series.patient,
            "Modality": series.modality,
            "StudyDate": series.date,
        }
        return {**super().get_image_info(image_id), **more}

    def synchronise(self) -> None:
        """Store what could not be stored before, and read what others stored in the PACS since."""
        self._store_pending()
        images = self._list()
        with self._storing:  # so that what is being stored is already known as ours
            rows = [
                row for row in self._search("SEG") if row.uid not in self._ledger and row.uid not in self._elsewhere
            ]
        for row in sorted(rows, key=lambda row: row.date):
            self._read_segmentation(row, images)

    def saved(self, annotation: Annotation) -> None:
        with self._storing:
            self._try_to_store(annotation)

    def _store_pending(self) -> None:
        """Store what could not be stored when it was saved."""
        with self._storing:
            for image_id in self.annotations.image_ids():
                for version in self.annotations.versions(image_id):
                    known = version.authorship.origin or self._ledger.find(image_id, version.version)
                    known = known or (image_id, version.version) in self._given_up
                    if not known and not self._try_to_store(version):
                        return

    def _try_to_store(self, annotation: Annotation) -> bool:
        """False when the PACS does not answer, so that it is tried again later."""
        try:
            self._store(annotation)
        except PacsUnreachable as error:
            _LOG.warning("%s The label is kept here, and stored when it answers.", error)
            return False
        except MyotomeError as error:
            self._given_up.add((annotation.image_id, annotation.version))
            _LOG.warning("version %s cannot be stored in the PACS: %s", annotation.version, error)
        return True

    def stored_series(self, annotation: Annotation) -> str | None:
        """SeriesInstanceUID of a version's SEG, when it is in the PACS."""
        return annotation.authorship.origin or self._ledger.find(annotation.image_id, annotation.version)

    def read_foreign(self, path: Path, header: Any, authorship: Authorship) -> Annotation:
        """Keep a DICOM SEG that a viewer sends, whose header was read, as a version of the image it refers to."""
        image_id = _referenced_series(header.to_json_dict())
        if image_id is None:
            raise InputError("the segmentation does not say which series it was drawn on: export it from the viewer.")
        return self.save_annotation(image_id, path, {}, authorship)

    def _store(self, annotation: Annotation) -> None:
        label_map = self.annotations.read(annotation)
        if not label_map.array.any():
            self._ledger.add(f"empty {annotation.image_id} {annotation.version}", annotation)
            return
        from pydicom import dcmread

        volume = self.volume(annotation.image_id)
        provenance = Provenance(
            bundle="none",
            bundle_version="none",
            weights_sha256=annotation.authorship.model or "none",
            software={},
            device="none",
            input={},
            run_id=f"{annotation.version} {annotation.labels_sha256}",
        )
        path = self.state.temporary / f"{annotation.labels_sha256[:16]}.dcm"
        # Viewers list segmentations by this: which one is the newest has to be seen.
        author, when = annotation.authorship.author, annotation.created[:16].replace("T", " ")
        description = f"{annotation.version} {author[:24]} {when}"
        write_segmentation(path, label_map, volume, provenance, reader=author, description=description)
        dataset = dcmread(path)
        path.unlink()
        try:
            self._client.store_instances([dataset])
        except (requests.RequestException, OSError) as error:
            raise PacsUnreachable(f"the PACS did not take the segmentation ({type(error).__name__}).") from error
        self._ledger.add(str(dataset.SeriesInstanceUID), annotation)

    def _find(self, image_id: str) -> _Series:
        series = self._list().get(image_id)
        if series is None:
            raise UnknownImage(f"there is no series '{str(image_id)[:80]}' in the PACS: see /datastore/.")
        return series

    def _list(self) -> dict[str, _Series]:
        """The image series of the PACS; the last list while it is asked again, or does not answer."""
        first = not self._next_listing
        if time.monotonic() < self._next_listing or not self._listing.acquire(blocking=first):
            return self._series
        try:
            self._series = {row.uid: row for modality in self.modalities for row in self._search(modality)}
        except PacsUnreachable as error:
            _LOG.warning("%s", error)
        finally:
            self._next_listing = time.monotonic() + _RELIST_S
            self._listing.release()
        return self._series

    def _search(self, modality: str) -> list[_Series]:
        try:
            rows = self._client.search_for_series(
                search_filters={"Modality": modality}, fields=[_PATIENT, _CREATED], get_remaining=True
            )
        except (requests.RequestException, OSError) as error:
            raise PacsUnreachable(f"the PACS at {self.url} does not answer ({type(error).__name__}).") from error
        return [_Series(*(_text(row, tag) for tag in (_SERIES, _STUDY, _PATIENT, _CREATED)), modality) for row in rows]

    def _retrieve(self, series: _Series) -> list[Any]:
        try:
            return self._client.retrieve_series(series.study, series.uid, media_types=_ANY_SYNTAX)
        except (requests.RequestException, OSError) as error:
            raise PacsUnreachable(f"the PACS did not give the series ({type(error).__name__}): try again.") from error

    def _read_segmentation(self, row: _Series, images: dict[str, _Series]) -> None:
        """A segmentation that somebody else stored, as a version of its image's labels."""
        try:
            dataset = self._retrieve(row)[0]
            image_id = _referenced_series(dataset.to_json_dict(bulk_data_threshold=64, bulk_data_element_handler=_drop))
            if image_id not in images:
                self._elsewhere.add(row.uid)
                return
            path = self.state.temporary / f"{row.uid}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(path, enforce_file_format=True)
            grid = self.grid(image_id)
            label_map = self._read_label(path, grid, {}, image_id)
            path.unlink()
            origin = Authorship(author="PACS", client="pacs", origin=row.uid)
            annotation = self.annotations.save(image_id, label_map, grid, origin)
            self._ledger.add(row.uid, annotation)
        except PacsUnreachable:
            raise
        except MyotomeError as error:
            _LOG.warning("a segmentation of the PACS is passed over: %s", error)
            self._ledger.ignore(row.uid)


class _Ledger:
    """Which segmentations this server stored in the PACS or read from it, in one file that is replaced whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._rows: dict[str, list[str]] = json.loads(path.read_text()) if path.is_file() else {}
        self._by_version = {tuple(row): uid for uid, row in self._rows.items() if row}

    def __contains__(self, series_uid: str) -> bool:
        return series_uid in self._rows

    def find(self, image_id: str, version: str) -> str | None:
        """SeriesInstanceUID of a version's segmentation."""
        return self._by_version.get((image_id, version))

    def add(self, series_uid: str, annotation: Annotation) -> None:
        self._write(series_uid, [annotation.image_id, annotation.version])

    def ignore(self, series_uid: str) -> None:
        self._write(series_uid, [])

    def _write(self, series_uid: str, row: list[str]) -> None:
        with self._lock:
            self._rows[series_uid] = row
            self._by_version |= {tuple(row): series_uid} if row else {}
            with atomic_path(self.path) as temporary:
                temporary.write_text(json.dumps(self._rows, indent=1))


def _text(row: dict[str, Any], tag: str) -> str:
    values = row.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _drop(element: Any) -> str:
    return "about:blank"


def _referenced_series(header: dict[str, Any]) -> str | None:
    """SeriesInstanceUID of the images a SEG was drawn on (ReferencedSeriesSequence)."""
    items = header.get("00081115", {}).get("Value") or [{}]
    return _text(items[0], _SERIES) or None
