"""How far two readers of one image agree."""

from __future__ import annotations

from typing import Any

from myotome.active_learning.annotations import Annotation, AnnotationStore
from myotome.geometry import Volume
from myotome.metrics import score_label_map

__all__ = ["compare_readers"]

_SCORES = ("dice", "volume_error", "density_error")


def compare_readers(store: AnnotationStore, first: Annotation, second: Annotation, volume: Volume) -> dict[str, Any]:
    """Second reader against the first: Dice, volume difference in %, density difference in HU, by structure."""
    scores = score_label_map(store.read(first), store.read(second), volume, tolerance_mm=None)
    structures: dict[str, dict[str, float | None]] = {}
    for row in scores:
        if row.score in _SCORES:
            structures.setdefault(row.structure, {})[row.score] = row.value
    return {
        "image": first.image_id,
        "readers": [first.authorship.author, second.authorship.author],
        "versions": [first.version, second.version],
        "structures": structures,
    }
