"""Images and their labels, for MONAI Label: from a folder, or from a PACS by DICOMweb.

Both keep labels as versions in `myotome.active_learning.AnnotationStore`, whatever the images come from; the PACS gets
a DICOM SEG of each version besides, and segmentations that others stored there are read as versions.
"""

from __future__ import annotations

import contextlib
import csv
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore

from lib.state import State
from myotome.active_learning.annotations import Annotation, AnnotationStore, Authorship, rename_labels
from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.io import read_volume, write_volume
from myotome.io.dicom_files import is_dicom
from myotome.pipeline import kind_of
from myotome.structures import LabelMap, LabelSchema

__all__ = ["FINAL", "ORIGINAL", "FolderDatastore", "MyotomeDatastore", "UnknownImage"]

FINAL, ORIGINAL = "final", "original"
_NIFTI = (".nii.gz", ".nii")
_RESCAN_S = 2.0
_RESCAN_SHARE = 20
_NOT_IMAGES = {"labels"}


class UnknownImage(InputError):
    """There is no such image or label here."""


class MyotomeDatastore(Datastore):
    """What the two datastores share: labels, versions, and everything that MONAI Label asks about them.

    A label's id is its image's id; the newest version counts.

    Parameters
    ----------
    state : the server's own folder
    schemas : the label schema of each bundle that is served, by its name; the first is the default
    """

    def __init__(self, state: State, schemas: Mapping[str, LabelSchema]) -> None:
        self.state = state
        self.schemas = dict(schemas)
        self.annotations = AnnotationStore(state.annotations)
        self._asked: dict[str, str] = {}
        self._making_images = threading.Lock()
        self._grids: dict[tuple[str, int], Grid] = {}

    # images: what a subclass answers

    @abstractmethod
    def list_images(self) -> list[str]:
        """Ids of all images."""

    @abstractmethod
    def source(self, image_id: str) -> Path:
        """A NIfTI file or a DICOM folder that `myotome.io.read_volume` reads."""

    @abstractmethod
    def patient(self, image_id: str) -> str:
        """What tells the patients apart; images of one patient are never divided between training and validation."""

    def require_image(self, image_id: str) -> str:
        """The id itself, when there is such an image.

        Raises
        ------
        UnknownImage
        """
        if image_id not in set(self.list_images()):
            raise UnknownImage(f"there is no image '{str(image_id)[:80]}' here: see /datastore/ for those there are.")
        return image_id

    def volume(self, image_id: str) -> Volume:
        """The image, in Hounsfield units for a CT."""
        return self.read(self.source(self.require_image(image_id)))

    def read(self, source: Path) -> Volume:
        """An image as the bundles that are served read it; of whichever modality when they are of several kinds."""
        kinds = {kind_of(schema) for schema in self.schemas.values()}
        if len(kinds) > 1:
            return read_volume(source, modality=None)
        (kind,) = kinds
        return read_volume(source, **kind.reading)

    def grid(self, image_id: str) -> Grid:
        """The image's grid; the image is read once for it, and again when it changed."""
        source = self.source(self.require_image(image_id))
        key = image_id, source.stat().st_mtime_ns
        if key not in self._grids:
            self._grids[key] = self.read(source).grid
        return self._grids[key]

    def get_image_uri(self, image_id: str) -> str:
        return str(self.source(self.require_image(image_id)))

    def image_file(self, image_id: str) -> Path:
        """The image as one NIfTI file; a DICOM series is converted once."""
        source = self.source(self.require_image(image_id))
        if source.is_file():
            return source
        target = self.state.image(image_id)
        with self._making_images:
            if not target.is_file():
                write_volume(target, self.read(source))
        return target

    def get_image(self, image_id: str, params: Any = None) -> bytes:
        return self.image_file(image_id).read_bytes()

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        source = self.source(self.require_image(image_id))
        return {"name": self.file_name(image_id), "path": str(source), "strategy": {}}

    def file_name(self, image_id: str) -> str:
        """The name of `image_file` for a client."""
        source = self.source(image_id)
        return source.name if source.is_file() else f"{image_id.split('/')[-1]}.nii.gz"

    # labels

    def draft_was_asked(self, image_id: str, bundle: str) -> None:
        """Remember whose draft of an image a reader saw last."""
        self._asked.pop(image_id, None)
        self._asked[image_id] = bundle

    def bundle_in_use(self) -> str | None:
        """The bundle whose draft, of whichever image, was asked for last."""
        return next(reversed(self._asked.values()), None)

    def bundle_at(self, image_id: str) -> str | None:
        """The bundle that is worked with on an image: whose draft was asked for last, or whose the newest label is."""
        if image_id in self._asked:
            return self._asked[image_id]
        newest = self.annotations.newest(image_id)
        named = {schema.name: bundle for bundle, schema in self.schemas.items()}
        return named.get(newest.schema) if newest else None

    def labelled(self, schema: str | None = None) -> set[str]:
        """Images that have a label, and are still here; labels of one schema, when one is named."""
        return set(self.annotations.image_ids(schema)) & set(self.list_images())

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: Mapping[str, Any] | None = None
    ) -> str:
        """Keep a reader's label as a new version; see `save_annotation`. Returns the label's id, the image's."""
        if label_tag not in ("", FINAL):
            raise InputError(f"labels are saved under the tag '{FINAL}', not '{str(label_tag)[:20]}'.")
        self.save_annotation(image_id, Path(label_filename), label_info or {}, Authorship())
        return image_id

    def save_annotation(
        self, image_id: str, path: Path, label_info: Mapping[str, Any], authorship: Authorship
    ) -> Annotation:
        """Check a label file, renumber it by the names of its segments, and keep it as a new version.

        Parameters
        ----------
        path : NIfTI, NRRD or DICOM SEG
        label_info : ``label_info``, a list of ``{"name", "idx"}`` (or ``"id"``), names the numbers of the file;
            ``model`` names the bundle whose structures they are

        Raises
        ------
        InputError
            When it is not a label of this image: unreadable, on another grid, with unknown or unnamed segments, or
            with bare numbers that several bundles know.
        """
        grid = self.grid(image_id)
        label_map = self._read_label(path, grid, label_info, image_id)
        annotation = self.annotations.save(image_id, label_map, grid, authorship)
        self.saved(annotation)
        return annotation

    def saved(self, annotation: Annotation) -> None:
        """Called when a version is safely kept."""

    def synchronise(self) -> None:
        """Exchange labels with wherever the images come from; the server calls it now and then."""

    def _read_label(self, path: Path, image_grid: Grid, label_info: Mapping[str, Any], image_id: str) -> LabelMap:
        if is_dicom(path):
            from myotome.io.dicom_segmentation import read_segmentation

            return next(
                self._that_fit(lambda schema: read_segmentation(path, schema, image_grid), label_info, image_id)
            )
        array, grid = _read_label_array(path)
        names = _segment_names(label_info)
        fitting = self._that_fit(lambda schema: rename_labels(array, grid, schema, names), label_info, image_id)
        found = next(fitting)
        if names or label_info.get("model") or self.bundle_at(image_id):
            return found
        schemas = [found.schema.name, *(other.schema.name for other in fitting)]
        if len(schemas) > 1:
            raise InputError(
                f"the label's numbers could be {', '.join(schemas[:-1])} or {schemas[-1]}: send the bundle's name as "
                "'model', or the names of the segments as 'label_info'."
            )
        return found

    def _that_fit(
        self, read: Callable[[LabelSchema], LabelMap], label_info: Mapping[str, Any], image_id: str
    ) -> Iterator[LabelMap]:
        """The label in the schema of the bundle that ``label_info`` names, or in each schema that knows its segments.

        The schema of the bundle that is worked with comes first. When none fits, the first schema's refusal is raised.
        """
        bundle, in_use = label_info.get("model"), self.bundle_at(image_id)
        names = [bundle] if bundle in self.schemas else sorted(self.schemas, key=lambda name: name != in_use)
        refusal, fits = None, False
        for name in names:
            try:
                yield read(self.schemas[name])
                fits = True
            except InputError as error:
                refusal = refusal or error
        if not fits:
            raise refusal or InputError("no bundle is served here, so no label can be saved.")

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        return {FINAL: image_id} if self.annotations.newest(image_id) else {}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def find_label(self, label_id: str, version: str | None = None) -> Annotation:
        """A version of an image's label; the newest when none is asked for.

        Raises
        ------
        UnknownImage
            When the image has no label.
        """
        self.require_image(label_id)
        found = self.annotations.find(label_id, version) if version else self.annotations.newest(label_id)
        if found is None:
            raise UnknownImage(f"'{label_id[:80]}' has no label yet: save one first.")
        return found

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return str(self.find_label(label_id).path)

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> bytes:
        return self.find_label(label_id).path.read_bytes()

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        return self.find_label(label_id).to_json()

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        return sorted(self.labelled())

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labelled = self.labelled()
        return [image for image in self.list_images() if image not in labelled]

    def datalist(self) -> list[dict[str, Any]]:
        return [
            {"image": str(self.source(image)), "label": str(self.find_label(image).path)}
            for image in sorted(self.labelled())
        ]

    # what MONAI Label reports

    def name(self) -> str:
        return "myotome"

    def description(self) -> str:
        return "images with versioned labels"

    def set_name(self, name: str) -> None:
        raise InputError("the datastore's name is fixed.")

    def set_description(self, description: str) -> None:
        raise InputError("the datastore's description is fixed.")

    def status(self) -> dict[str, Any]:
        images, labelled = self.list_images(), self.labelled()
        return {"total": len(images), "completed": len(labelled), "label_tags": {FINAL: len(labelled)}, "train": []}

    def json(self) -> dict[str, Any]:
        """The shape that 3D Slicer's plugin reads."""
        objects = {}
        for image in self.list_images():
            newest = self.annotations.newest(image)
            labels = {FINAL: {"ext": ".nii.gz", "info": newest.to_json()}} if newest else {}
            objects[image] = {"image": {"ext": ".nii.gz", "info": {"name": image}}, "labels": labels}
        return {"name": self.name(), "description": self.description(), "objects": objects}

    # what this app does not do

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        raise InputError("the data set is not given out as an archive: copy the studies folder.")

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        raise InputError("images are not uploaded here: put them into the studies folder, or into the PACS.")

    def remove_image(self, image_id: str) -> None:
        raise InputError("images are not removed here: take them out of the studies folder, or of the PACS.")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        raise InputError("labels are never removed: save a better version, the newest counts.")

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self.require_image(image_id)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        self.find_label(label_id)

    def refresh(self) -> None:
        """Look for new images at the next question."""


class FolderDatastore(MyotomeDatastore):
    """Images in a folder tree: NIfTI files, and folders that hold a DICOM series.

    An image's id is its path below the folder, without the suffix. Hidden folders, ``labels`` folders and links that
    lead out of the folder are passed over. ``patients.csv`` (columns ``image`` and ``patient``) tells which images are
    of one patient; without it, the DICOM header does, and a NIfTI file is a patient of its own.
    """

    def __init__(self, folder: Path | str, state: State, schemas: Mapping[str, LabelSchema]) -> None:
        super().__init__(state, schemas)
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise InputError(f"there is no folder '{folder}': give the folder that holds the images.")
        self._scanning = threading.Lock()
        self._next_scan = 0.0
        self._sources: dict[str, Path] = {}
        self._patients: dict[str, str] = {}
        self._headers: dict[str, str] = {}

    def name(self) -> str:
        return self.folder.name

    def refresh(self) -> None:
        self._next_scan = 0.0

    def list_images(self) -> list[str]:
        return sorted(self._scan())

    def source(self, image_id: str) -> Path:
        try:
            return self._scan()[image_id]
        except KeyError:
            raise UnknownImage(f"there is no image '{image_id[:80]}' here: see /datastore/.") from None

    def patient(self, image_id: str) -> str:
        source = self.source(image_id)
        if image_id in self._patients:
            return self._patients[image_id]
        if source.is_file():
            return image_id
        if image_id not in self._headers:
            self._headers[image_id] = self.read(source).acquisition.subject_id or image_id
        return self._headers[image_id]

    def _scan(self) -> dict[str, Path]:
        with self._scanning:
            begun = time.monotonic()
            if begun > self._next_scan:
                self._sources = dict(self._walk(self.folder))
                self._patients = _read_patients(self.folder / "patients.csv")
                # A large tree on a slow disk is looked through less often.
                taken = time.monotonic() - begun
                self._next_scan = begun + max(_RESCAN_S, _RESCAN_SHARE * taken)
            return self._sources

    def _walk(self, folder: Path) -> Iterable[tuple[str, Path]]:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        entries = [path for path in entries if path.resolve().is_relative_to(self.folder)]
        files = [path for path in entries if path.is_file()]
        images = [path for path in files if path.name.endswith(_NIFTI)]
        if not images and folder != self.folder and next((path for path in files if is_dicom(path)), None):
            yield folder.relative_to(self.folder).as_posix(), folder
            return
        for path in images:
            yield _without_suffix(path.relative_to(self.folder).as_posix()), path
        for path in entries:
            if path.is_dir() and path.name not in _NOT_IMAGES:
                yield from self._walk(path)


def _without_suffix(name: str) -> str:
    for suffix in _NIFTI:
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def _read_patients(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with contextlib.suppress(KeyError):
        return {_without_suffix(row["image"]): row["patient"] for row in rows}
    raise InputError(f"{path.name} has no columns 'image' and 'patient': name its columns so.")


def _segment_names(label_info: Mapping[str, Any]) -> dict[int, str] | None:
    """Number to name, from what Slicer (``idx``), OHIF and others (``id``, ``value``) send; ``None`` when they do not.

    Raises
    ------
    InputError
        When it is not such a list.
    """
    rows = label_info.get("label_info")
    if not rows:
        return None
    names = {}
    try:
        for row in rows:
            number = next(row[key] for key in ("idx", "id", "value") if row.get(key) is not None)
            names[int(number)] = str(row["name"])
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError):
        raise InputError('label_info is not a list of {"name": ..., "idx": ...}: send one for each segment.') from None
    return names


def _read_label_array(path: Path) -> tuple[np.ndarray, Grid]:
    """Whole numbers and grid of a NIfTI or NRRD label, in the client's own numbering."""
    if path.name.endswith(_NIFTI):
        volume = read_volume(path)
        return volume.array, volume.grid
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError("the label is no NIfTI, NRRD or DICOM segmentation: export it again.") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError("the label is no three-dimensional label map: export it as one, without overlaps.")
    turned = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turned, image.GetOrigin()
    array = SimpleITK.GetArrayFromImage(image).T
    return array, Grid(array.shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
