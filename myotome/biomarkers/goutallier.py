"""Goutallier's grades of fatty infiltration, and the binary questions that are asked of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from myotome.errors import InputError

__all__ = ["DEFINITIONS", "DROPPED", "GRADES", "GRADE_COUNTS_2024", "Definition", "check_grades", "read_definition"]

GRADES = (0, 1, 2, 3, 4)
"""0 no fat, 1 some streaks, 2 less fat than muscle, 3 as much fat as muscle, 4 more (Goutallier 1994)."""

GRADE_COUNTS_2024 = (403, 114, 51, 24, 14)
"""Shoulders of each grade in Saavedra et al., Front Med 2024;11:1416169."""

DROPPED = -1


@dataclass(frozen=True)
class Definition:
    """A binary question: the grades that count as ``negative`` and those that count as ``positive``.

    A grade in neither is dropped from training and from the scores.

    Raises
    ------
    InputError
        When a side is empty, a grade stands on both, or is not one of 0 to 4.
    """

    name: str
    negative: tuple[int, ...]
    positive: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.negative or not self.positive:
            raise InputError(f"definition '{self.name}' has an empty side: name negative and positive grades.")
        if set(self.negative) & set(self.positive) or not set(self.negative + self.positive) <= set(GRADES):
            raise InputError(f"definition '{self.name}': each of the grades 0 to 4 stands on one side at most.")

    @property
    def title(self) -> str:
        """Such as ``grades 3-4 against 0-1``."""
        return f"grades {_span(self.positive)} against {_span(self.negative)}"

    def target(self, grades: ArrayLike) -> np.ndarray:
        """1 for a positive grade, 0 for a negative one, -1 (``DROPPED``) for one that the question leaves out.

        Parameters
        ----------
        grades : array of any shape, whole numbers 0 to 4

        Returns
        -------
        int64 array of that shape; an empty array gives an empty one

        Raises
        ------
        InputError
            When a value is not a grade.
        """
        grades = check_grades(grades)
        answers = np.full(len(GRADES), DROPPED, np.int64)
        answers[list(self.negative)] = 0
        answers[list(self.positive)] = 1
        return answers[grades]


def _span(grades: tuple[int, ...]) -> str:
    return str(grades[0]) if len(grades) == 1 else f"{min(grades)}-{max(grades)}"


def check_grades(grades: ArrayLike) -> np.ndarray:
    """Grades as an int64 array of the same shape.

    Raises
    ------
    InputError
        When a value is not one of the whole numbers 0 to 4.
    """
    given = np.asarray(grades)
    if given.size and (given.dtype.kind not in "biuf" or not np.isin(given, GRADES).all()):
        raise InputError(f"Goutallier grades are whole numbers from 0 to 4, and these hold {_strangers(given)}.")
    return given.astype(np.int64)


def _strangers(given: np.ndarray) -> str:
    strange = sorted({str(value) for value in given.ravel().tolist() if value not in GRADES})
    return ", ".join(strange[:5])


# The five definitions of the companion paper of Saavedra et al. 2024. That paper's figures fit A (or D).
DEFINITIONS: dict[str, Definition] = {
    "A": Definition("A", (0, 1), (3, 4)),
    "B": Definition("B", (0, 1), (2, 3, 4)),
    "C": Definition("C", (0, 1), (2,)),
    "D": Definition("D", (0, 1, 2), (3, 4)),
    "E": Definition("E", (2,), (3, 4)),
}


def read_definition(name: str) -> Definition:
    """The binary definition of a name, ``A`` to ``E``.

    Raises
    ------
    InputError
        When there is none of that name.
    """
    if name not in DEFINITIONS:
        known = "; ".join(f"{key}: {definition.title}" for key, definition in DEFINITIONS.items())
        raise InputError(f"no binary definition '{name}': choose one of {known}.")
    return DEFINITIONS[name]
