"""How far two readers of one image agree."""

from __future__ import annotations

import threading
from itertools import combinations
from typing import Any

from lib.datastores import MyotomeDatastore
from myotome.active_learning.annotations import Annotation, AnnotationStore
from myotome.geometry import Volume
from myotome.metrics import score_label_map

__all__ = ["Agreements", "compare_readers"]

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


class Agreements:
    """What `compare_readers` gives for every image that two or more readers labelled, each pair computed once."""

    def __init__(self, datastore: MyotomeDatastore) -> None:
        self.datastore = datastore
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str, str], dict[str, Any]] = {}

    def of_image(self, image_id: str) -> list[dict[str, Any]]:
        """Each pair of readers of one image, by the newest version of each."""
        return [self._compare(*pair) for pair in self._pairs(image_id)]

    def overview(self, most_new: int = 2) -> list[dict[str, Any]]:
        """The pairs of all images; at most so many are computed now, the others the next time."""
        rows = []
        for image_id in sorted(self.datastore.labelled()):
            for first, second in self._pairs(image_id):
                known = (image_id, first.version, second.version) in self._known
                if known or most_new > 0:
                    most_new -= not known
                    rows.append(self._compare(first, second))
        return rows

    def _pairs(self, image_id: str) -> list[tuple[Annotation, Annotation]]:
        readers = self.datastore.annotations.by_reader(image_id).values()
        return [(first, second) for first, second in combinations(readers, 2) if first.schema == second.schema]

    def _compare(self, first: Annotation, second: Annotation) -> dict[str, Any]:
        key = first.image_id, first.version, second.version
        with self._lock:
            if key not in self._known:
                volume = self.datastore.volume(first.image_id)
                self._known[key] = compare_readers(self.datastore.annotations, first, second, volume)
            return self._known[key]
