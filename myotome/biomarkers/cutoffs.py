"""Published cut-offs, with their source, to show beside a value: never a diagnosis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from ruamel.yaml import YAML

from myotome.measurement import Measurement
from myotome.resources import config_path

__all__ = ["Cutoff", "compare_with_cutoffs", "read_cutoffs"]


@dataclass(frozen=True)
class Cutoff:
    """A value below which a measure counts as low in a published group of one sex.

    ``not_with`` are flags of a measurement for which it does not hold, such as ``contrast_suspected``.
    """

    measure: str
    sex: str
    value: float
    unit: str
    group: str
    source: str
    not_with: tuple[str, ...] = ()

    def describe(self, value: float) -> str:
        """Such as ``below the cut-off of 45.4 cm2/m2 (men)``."""
        people = {"M": "men", "F": "women"}[self.sex]
        side = "below" if value < self.value else "not below"
        return f"{side} the cut-off of {self.value:g} {self.unit} ({people})"


@cache
def read_cutoffs(schema: str) -> tuple[Cutoff, ...]:
    """The cut-offs by sex of a label schema's measures, from ``configs/reference_values.yaml``; none for most."""
    table = YAML(typ="safe").load(config_path("reference_values.yaml")).get(schema, [])
    return tuple(
        Cutoff(
            row["measure"], sex, float(value), row["unit"], row["group"], row["source"], tuple(row.get("not_with", ()))
        )
        for row in table
        if isinstance(row.get("below"), dict)
        for sex, value in row["below"].items()
    )


def compare_with_cutoffs(rows: Iterable[Measurement], schema: str, sex: str | None) -> list[tuple[Measurement, Cutoff]]:
    """Each value of the case that a cut-off of the person's sex exists for, with it.

    Left out are values of single slices, those of a structure that the field of view cuts off (they are too low), those
    with a flag that the cut-off does not hold for, and everything when the sex is not known.
    """
    found = []
    for row in rows:
        if row.value is None or row.slice_index is not None or any(flag.startswith("truncated") for flag in row.flags):
            continue
        for one in read_cutoffs(schema):
            if (one.measure, one.sex) == (row.measure, sex) and not set(one.not_with) & set(row.flags):
                found.append((row, one))
    return found
