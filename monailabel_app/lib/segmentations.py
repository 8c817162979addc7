"""Drafts as DICOM SEG."""

from __future__ import annotations

import uuid
from pathlib import Path

from lib.datastores import MyotomeDatastore
from lib.models import Model
from myotome.io import read_label_map
from myotome.io.dicom_segmentation import write_segmentation
from myotome.measurement import Provenance

__all__ = ["write_draft_segmentation"]


def write_draft_segmentation(datastore: MyotomeDatastore, image_id: str, draft: Path, model: Model) -> Path | None:
    """A draft as DICOM SEG in the temporary folder; ``None`` when it is empty.

    Raises
    ------
    InputError
        When the image was not read from DICOM.
    """
    champion = model.champion
    provenance = Provenance(
        bundle=model.name,
        bundle_version=model.metadata["version"],
        weights_sha256=champion.weights_sha256,
        software={},
        device="none",
        input={},
    )
    path = datastore.state.temporary / f"{uuid.uuid4().hex}.dcm"
    volume = datastore.volume(image_id)
    written = write_segmentation(path, read_label_map(draft, model.schema), volume, provenance)
    return path if written else None
