"""What was measured, by what, and the flags that say what to beware of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from myotome.errors import InputError
from myotome.structures import LabelMap, Structure, read_structure

__all__ = ["CaseResult", "Grading", "Instance", "Level", "Measurement", "Provenance", "Subject"]

Box = tuple[tuple[int, int, int], tuple[int, int, int]]


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


@dataclass(frozen=True, eq=False)
class Grading:
    """What a classifier says of one slice, and what it looked at.

    ``probabilities`` are by the name of a binary definition, ``grade_probabilities`` by grade, from 0 upwards.
    ``crop``, ``mask`` and ``attention`` are what the classifier saw: intensities, the region's label (0 to 1) and how
    much each place spoke for ``attention_of`` (Grad-CAM, 0 to 1), rows running down and columns to the right.
    ``box_mm`` is where the crop lies in the slice, as it is shown: left, top, width, height in mm from its corner.

    Raises
    ------
    InputError
        When a probability is not between 0 and 1, or the grades' do not sum to 1.
    """

    slice_index: int
    reason: str
    probabilities: dict[str, float]
    grade_probabilities: tuple[float, ...]
    crop: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    attention: np.ndarray = field(repr=False)
    attention_of: str = ""
    box_mm: tuple[float, float, float, float] | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        every = (*self.probabilities.values(), *self.grade_probabilities)
        if not all(0 <= value <= 1 for value in every):
            raise InputError(f"the grading holds {every}: a probability lies between 0 and 1.")
        if self.grade_probabilities and abs(sum(self.grade_probabilities) - 1) > 1e-3:
            raise InputError(f"the probabilities of the grades sum to {sum(self.grade_probabilities):g}, not to 1.")

    @property
    def grade(self) -> int:
        """The most probable grade."""
        return int(np.argmax(self.grade_probabilities))


@dataclass(frozen=True)
class Instance:
    """One object that a detector found; its mask is what the label map holds of its structure inside the box.

    Parameters
    ----------
    structure : name in the label map's schema
    score : 0 to 1, of the object; the mean over its slices where each has its own
    box : first voxel and the one past the last, along the axes of the volume's own array
    slice_scores : index of a slice, across the slices, and the score there

    Raises
    ------
    InputError
        When a score is not between 0 and 1, or the box is empty.
    """

    structure: str
    score: float
    box: Box
    slice_scores: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if not all(0 <= score <= 1 for score in (self.score, *(score for _, score in self.slice_scores))):
            raise InputError(f"an instance of {self.structure} has the score {self.score}: it lies between 0 and 1.")
        if not all(0 <= first < end for first, end in zip(*self.box, strict=True)):
            raise InputError(f"the box {self.box} of an instance of {self.structure} holds no voxel.")

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """The box as an index into the volume's array."""
        first, second, third = (slice(*ends) for ends in zip(*self.box, strict=True))
        return first, second, third


@dataclass(frozen=True)
class Level:
    """Which slice is the vertebral level that was measured, and how sure that is.

    Parameters
    ----------
    slice_index : along the volume's own inferior-superior array axis, from 0
    z_mm : patient height of the level (RAS+)
    confidence : 0 to 1; ``None`` where nothing estimated it, as when a person named the slice
    reason : how the slice was found, as a phrase for people
    name : of the vertebra

    Raises
    ------
    InputError
        When the slice is negative, the height not finite, or the confidence not between 0 and 1.
    """

    slice_index: int
    z_mm: float
    confidence: float | None = None
    reason: str = ""
    name: str = "L3"

    def __post_init__(self) -> None:
        if self.slice_index < 0 or not math.isfinite(self.z_mm):
            raise InputError(f"level {self.name} is slice {self.slice_index} at {self.z_mm} mm: slices count from 0.")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise InputError(f"the confidence of level {self.name} is {self.confidence}: it lies between 0 and 1.")


@dataclass(frozen=True)
class Subject:
    """What is known of the person beside the image: height in metres, sex as ``M`` or ``F``; ``None`` is unknown."""

    height_m: float | None = None
    sex: str | None = None

    def __post_init__(self) -> None:
        if self.sex not in (None, "M", "F"):
            raise InputError(f"the sex '{self.sex}' is not M or F: leave it out where it is neither or not known.")


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
        return " · ".join(part for part in named if part) or self.input.get("name") or "image"


@dataclass(frozen=True, eq=False)
class CaseResult:
    """One analysed case: the label map, what was measured on it, the case's flags, and what made it.

    ``grading`` and ``level`` are ``None`` where nothing was graded and no level was looked for; ``instances`` is empty
    where nothing was detected object by object.
    """

    label_map: LabelMap
    measurements: tuple[Measurement, ...]
    provenance: Provenance
    flags: tuple[str, ...] = field(default=())
    grading: Grading | None = None
    level: Level | None = None
    subject: Subject = field(default_factory=Subject)
    instances: tuple[Instance, ...] = ()

    @property
    def structures(self) -> tuple[Structure, ...]:
        """What was measured: the schema's structures, then those that stand for several, such as the spine."""
        own = self.label_map.schema.structures
        known = {structure.name for structure in own}
        others = dict.fromkeys(row.structure for row in self.measurements if row.structure not in known)
        return (*own, *(read_structure(name) for name in others))
