"""Who trains and who is tested: by patient, as it should be, and by image, which lets patients stand on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from myotome.errors import InputError

__all__ = ["SPLITS", "Split", "make_split", "split_by_image", "split_by_patient"]

SPLITS = ("patient", "image")


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of the images that are trained on and of those that are tested, ascending."""

    training: np.ndarray
    test: np.ndarray

    def count_shared(self, patients: Sequence[str]) -> int:
        """Test images whose patient has an image in the training part, too."""
        owners = np.asarray(patients)
        return int(np.isin(owners[self.test], owners[self.training]).sum())


def split_by_patient(patients: Sequence[str], test_patients: int, seed: int = 0) -> Split:
    """Draw patients for the test; every image of a patient is on one side.

    Raises
    ------
    InputError
        When there would be no patient on one of the sides.
    """
    owners = np.asarray(patients)
    names = np.unique(owners)
    if not 0 < test_patients < len(names):
        raise InputError(
            f"{test_patients} of {len(names)} patients cannot be the test part: at least one stands on each side."
        )
    chosen = np.random.default_rng((seed, 365)).choice(names, test_patients, replace=False)
    inside = np.isin(owners, chosen)
    return Split(np.flatnonzero(~inside), np.flatnonzero(inside))


def split_by_image(count: int, test_images: int, seed: int = 0) -> Split:
    """Draw images for the test, whosever they are: for comparison only.

    Raises
    ------
    InputError
        When there would be no image on one of the sides.
    """
    if not 0 < test_images < count:
        raise InputError(f"{test_images} of {count} images cannot be the test part: at least one stands on each side.")
    inside = np.zeros(count, bool)
    inside[np.random.default_rng((seed, 1095)).choice(count, test_images, replace=False)] = True
    return Split(np.flatnonzero(~inside), np.flatnonzero(inside))


def make_split(name: str, patients: Sequence[str], test_patients: int, seed: int = 0) -> Split:
    """One of `SPLITS`: that by image tests as many images as that by patient does.

    Raises
    ------
    InputError
        When there is no such split, or a side would be empty.
    """
    by_patient = split_by_patient(patients, test_patients, seed)
    if name == "patient":
        return by_patient
    if name == "image":
        return split_by_image(len(patients), len(by_patient.test), seed)
    raise InputError(f"a split '{name}' is not known: choose one of {', '.join(SPLITS)}.")
