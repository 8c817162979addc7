"""What was measured, by what, and the flags that say what to beware of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from myotome.errors import InputError
from myotome.structures import LabelMap

__all__ = ["CaseResult", "Measurement", "Provenance"]


@dataclass(frozen=True)
class Measurement:
    """One physical quantity of one structure.

    ``value`` is ``None`` when it cannot be given, and a flag then says why (``absent``, ``truncated_left`` ...); it is
    never NaN, infinite, or 0 as a message. ``unit`` is UCUM (``mL``, ``cm2``, ``[hnsf'U]``, ``%``). ``side`` is
    ``right``, ``left`` or ``both``; ``level`` names a vertebral level where one is known; ``slice_index`` is set for a
    measure of one slice and ``None`` for the volume. ``lower`` and ``upper`` bound a 95 % interval where one is known.

    Raises
    ------
    InputError
        When a value is not finite, or is missing without a flag.
    """

    structure: str
    measure: str
    value: float | None
    unit: str
    side: str = "both"
    statistic: str = "total"
    level: str | None = None
    slice_index: int | None = None
    lower: float | None = None
    upper: float | None = None
    method: str = ""
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for number in (self.value, self.lower, self.upper):
            if number is not None and not math.isfinite(number):
                raise InputError(f"{self.structure} {self.measure} is {number}: a value is finite or None with a flag.")
        if self.value is None and not self.flags:
            raise InputError(f"{self.structure} {self.measure} has no value and no flag that says why.")
        if self.side not in ("right", "left", "both"):
            raise InputError(f"side '{self.side}' is not right, left or both.")


@dataclass(frozen=True)
class Provenance:
    """What made a result: bundle, weights, software, device, the engine and its precision, the input's identifiers."""

    bundle: str
    bundle_version: str
    weights_sha256: str
    software: dict[str, str]
    device: str
    input: dict[str, str | None]
    notes: tuple[str, ...] = ()
    run_id: str = ""
    engine: str = "none"
    precision: str = "none"

    @property
    def title(self) -> str:
        """What people call the input: subject and series where the header names them, or else its file name."""
        named = [self.input.get(key) for key in ("subject_id", "series_description")]
        return " · ".join(part for part in named if part) or self.input.get("name") or "CT"


@dataclass(frozen=True, eq=False)
class CaseResult:
    """One analysed case: the label map, what was measured on it, the case's flags, and what made it."""

    label_map: LabelMap
    measurements: tuple[Measurement, ...]
    provenance: Provenance
    flags: tuple[str, ...] = field(default=())
