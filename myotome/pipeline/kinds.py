"""Every kind of case, found by the label schema of a label map or a segmenter."""

from __future__ import annotations

from myotome.errors import InputError
from myotome.pipeline.bone_density import BONE_DENSITY
from myotome.pipeline.kind import CaseKind
from myotome.pipeline.l3_muscle import L3_MUSCLE
from myotome.pipeline.lumbar_disc import LUMBAR_DISC
from myotome.pipeline.respiratory import RESPIRATORY
from myotome.pipeline.supraspinatus import SUPRASPINATUS
from myotome.structures import LabelSchema

__all__ = ["KINDS", "kind_of"]

KINDS = (RESPIRATORY, SUPRASPINATUS, L3_MUSCLE, BONE_DENSITY, LUMBAR_DISC)


def kind_of(schema: LabelSchema | str) -> CaseKind:
    """The kind of the cases that a schema labels.

    Raises
    ------
    InputError
        When no kind measures them.
    """
    name = schema if isinstance(schema, str) else schema.name
    for kind in KINDS:
        if kind.schema == name:
            return kind
    known = ", ".join(kind.schema for kind in KINDS)
    raise InputError(f"label maps of '{name}' are not measured here: those of {known} are.")
