"""How unsure a model is of a case, read from its probabilities one slice at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from myotome.biomarkers.tally import MUSCLE_HU
from myotome.errors import InputError

__all__ = ["CaseScores", "score_probabilities"]

_BODY_HU = -300.0
_PLAUSIBLE = 0.1
_CAUTIOUS, _GENEROUS = 0.75, 0.25
_DENSITY_UNIT_HU = 10.0
_HISTOGRAM_EDGES_HU = np.array([-300, -150, -100, -50, -10, 30, 70, 120, 200, 400, 3072], dtype=np.float32)
# Weight of a structure's share and place in the descriptor, beside the histogram, whose bins sum to 1.
_SHARE_WEIGHT, _PLACE_WEIGHT = 4.0, 0.5


@dataclass(frozen=True)
class CaseScores:
    """What the strategies know of a case: how unsure the model is, where, and what the case looks like.

    ``entropy`` is the mean predictive entropy in nats over the body's voxels. ``class_entropy`` is its mean over the
    voxels that are predicted or plausibly (p > 0.1) the structure; a structure that is nowhere plausible is left out.
    ``class_share`` is the share of the body that is predicted as the structure. ``measurement_spread`` is how far the
    structure's biomarkers move between a cautious and a generous reading (see :func:`score_probabilities`).
    ``embedding`` describes the case for diversity: its histogram of HU, and each structure's predicted share and
    place along the scan.
    """

    entropy: float
    class_entropy: dict[str, float]
    class_share: dict[str, float]
    measurement_spread: dict[str, float]
    embedding: tuple[float, ...] = ()

    def to_json(self) -> str:
        """One line of JSON, from which :meth:`from_json` makes the same scores."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CaseScores:
        """The scores that :meth:`to_json` wrote.

        Raises
        ------
        InputError
            When the text is something else.
        """
        try:
            fields = json.loads(text)
            return cls(**{**fields, "embedding": tuple(fields["embedding"])})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(f"these are not the scores of a case ({error!r}): score the case again.") from error


def score_probabilities(planes: Iterable[tuple[np.ndarray, np.ndarray]], structures: Sequence[str]) -> CaseScores:
    """Score a case from the probabilities of its slices, which are read one at a time.

    The spread of a structure's measurements compares two readings of the same probabilities: a cautious one, the
    voxels of p > 0.75, and a generous one, p > 0.25::

        spread = (V_generous - V_cautious) / V_soft + |D_generous - D_cautious| / 10 HU

    V_soft is the sum of p, and D is the mean density of the reading's voxels within -29..150 HU, as `myotome measure`
    takes it. When the cautious reading has no such voxel but the generous one has, the density counts as moved by
    10 HU. A structure whose generous reading is empty is left out: there is nothing of it to measure.

    Parameters
    ----------
    planes : pairs of probabilities (C, H, W), background first, and the slice (H, W) in HU.
    structures : names of classes 1 to C - 1.

    Returns
    -------
    CaseScores
        All zero and empty where no voxel is body (above -300 HU).
    """
    sums = _Sums(len(structures) + 1)
    for place, (probabilities, hu) in enumerate(planes):
        if len(probabilities) != len(structures) + 1:
            raise InputError(
                f"{len(probabilities)} probabilities do not fit background and {len(structures)} structures."
            )
        body = hu > _BODY_HU
        sums.add(place, probabilities[:, body], hu[body])
    return sums.scores(structures)


class _Sums:
    """Running sums over the body's voxels; index 0 of each is the background."""

    def __init__(self, classes: int) -> None:
        self.voxels, self.entropy, self.last_place = 0, 0.0, 0
        self.plausible, self.plausible_entropy = np.zeros(classes), np.zeros(classes)
        self.predicted, self.place = np.zeros(classes), np.zeros(classes)
        self.soft = np.zeros(classes)
        # Of the cautious and of the generous reading: voxels, muscle voxels, and the sum of their HU.
        self.readings = np.zeros((2, 3, classes))
        self.histogram = np.zeros(len(_HISTOGRAM_EDGES_HU) - 1)

    def add(self, place: int, probabilities: np.ndarray, hu: np.ndarray) -> None:
        """Add the body's voxels of one slice: (C, N) probabilities, (N,) HU."""
        self.last_place = place
        self.voxels += hu.size
        entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=0)
        self.entropy += float(entropy.sum())
        winner = probabilities.argmax(axis=0)
        muscle = (hu >= MUSCLE_HU[0]) & (hu <= MUSCLE_HU[1])
        muscle_hu = np.where(muscle, hu, 0)
        self.soft += probabilities.sum(axis=1)
        for index, share in enumerate(probabilities):
            won = winner == index
            near = won | (share > _PLAUSIBLE)
            count = np.count_nonzero(won)
            self.predicted[index] += count
            self.place[index] += count * place
            self.plausible[index] += np.count_nonzero(near)
            self.plausible_entropy[index] += entropy[near].sum()
            for row, least in enumerate((_CAUTIOUS, _GENEROUS)):
                inside = share > least
                self.readings[row, :, index] += inside.sum(), muscle[inside].sum(), muscle_hu[inside].sum()
        self.histogram += np.histogram(hu, _HISTOGRAM_EDGES_HU)[0]

    def scores(self, structures: Sequence[str]) -> CaseScores:
        """The scores of everything that was added."""
        body = max(self.voxels, 1)
        shares = self.predicted / body
        entropies = self.plausible_entropy / np.maximum(self.plausible, 1)
        named = list(enumerate(structures, 1))
        spreads = {name: self._spread(index) for index, name in named}
        return CaseScores(
            entropy=self.entropy / body,
            class_entropy={name: float(entropies[index]) for index, name in named if self.plausible[index]},
            class_share={name: float(shares[index]) for index, name in named},
            measurement_spread={name: spread for name, spread in spreads.items() if spread is not None},
            embedding=self._describe(shares) if self.voxels else (),
        )

    def _spread(self, index: int) -> float | None:
        (cautious, cautious_muscle, cautious_hu), (generous, muscle, hu) = self.readings[:, :, index]
        if not generous:
            return None
        volume = (generous - cautious) / self.soft[index]
        if not muscle:
            density = 0.0
        elif not cautious_muscle:
            density = 1.0
        else:
            density = abs(hu / muscle - cautious_hu / cautious_muscle) / _DENSITY_UNIT_HU
        return float(volume + density)

    def _describe(self, shares: np.ndarray) -> tuple[float, ...]:
        """Histogram of HU, and each structure's share and place (0 first slice, 1 last, 0.5 where it is absent)."""
        histogram = self.histogram / max(self.histogram.sum(), 1)
        present = self.predicted > 0
        place = np.where(present, self.place / np.maximum(self.predicted, 1) / max(self.last_place, 1), 0.5)
        parts = (histogram, _SHARE_WEIGHT * shares[1:], _PLACE_WEIGHT * place[1:])
        return tuple(float(value) for value in np.concatenate(parts))
