"""What made a result, and the id of the run."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

from myotome import __version__
from myotome.geometry import Volume
from myotome.measurement import Provenance
from myotome.structures import LabelMap

if TYPE_CHECKING:
    from myotome.inference import Grader, Segmenter

__all__ = ["GIVEN", "make_provenance"]

GIVEN = "the label map was given, not computed"

_SOFTWARE = ("torch", "monai", "numpy", "scipy", "nibabel", "pydicom", "highdicom", "openvino")


def _versions() -> dict[str, str]:
    found = {"myotome": __version__, "python": platform.python_version()}
    for name in _SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def make_provenance(
    volume: Volume, label_map: LabelMap, segmenter: Segmenter | None, source: str, *, grader: Grader | None = None
) -> Provenance:
    """Where a result came from. The run's id is a hash of what went in, so the same run has the same id.

    Parameters
    ----------
    segmenter : what made the label map, or ``None``
    source : name of the input
    grader : what graded a label map that was given
    """
    acquisition = volume.acquisition
    notes = []
    if not acquisition.headers:
        notes.append("the input has no DICOM headers: segmentation.dcm and measurements.dcm are left out")
    elif not label_map.array.any():
        notes.append("nothing is labelled: segmentation.dcm and measurements.dcm are left out")
    provenance = Provenance(
        bundle="none",
        bundle_version="none",
        weights_sha256="none",
        software=_versions(),
        device="none",
        input={
            "name": source or None,
            "subject_id": acquisition.subject_id,
            "study_uid": acquisition.study_uid,
            "series_uid": acquisition.series_uid,
            "series_description": acquisition.series_description,
            "voxels_sha256": _digest(volume.array),
        },
        notes=tuple(notes),
    )
    given = () if segmenter else (GIVEN,)
    maker = segmenter or grader
    if maker is None:
        provenance = replace(provenance, notes=(*given, *provenance.notes))
    else:
        provenance = replace(
            provenance,
            bundle=maker.bundle,
            bundle_version=maker.bundle_version,
            weights_sha256=maker.weights_sha256,
            device=maker.device,
            engine=maker.engine,
            precision=maker.precision,
            notes=(*given, *maker.notes, *provenance.notes),
        )
    identity = [repr(provenance), _digest(label_map.array), repr(volume.grid.affine.tolist())]
    return replace(provenance, run_id=hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16])


def _digest(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and values, whatever its layout in memory."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    for plane in np.moveaxis(array, -1, 0):
        digest.update(np.ascontiguousarray(plane))
    return digest.hexdigest()
