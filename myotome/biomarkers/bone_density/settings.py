"""How bone density is measured: the values of ``configs/bone_density.yaml``, read once and checked."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from myotome.errors import InputError
from myotome.resources import config_path

__all__ = [
    "METHODS",
    "BoneDensitySettings",
    "Coefficients",
    "CutoffSettings",
    "EnergySettings",
    "MeanSettings",
    "MethodCoefficients",
    "MultiTissueSettings",
    "PhantomSettings",
    "ReferenceSettings",
    "RegionSettings",
    "Rods",
    "ThoracicOffset",
    "TissueSettings",
    "read_bone_density_settings",
]

METHODS = ("two_tissue", "multi_tissue")
"""Calibrations that need no phantom."""

_VOLTAGE_TOLERANCE_KV = 5.0


@dataclass(frozen=True)
class RegionSettings:
    """Which part of a vertebral body is measured, and which body is not: lengths in mm, shares from 0 to 1."""

    cortex_mm: float
    endplate_mm: float
    posterior_share: float
    vein_share: float
    vein_width_share: float
    vein_height_share: float
    smallest_ml: float
    fewest_voxels: int
    plausible_hu: tuple[float, ...]
    fracture_percent: float
    heights_mm: Mapping[str, float]


@dataclass(frozen=True)
class TissueSettings:
    """One reference tissue: its label, what it is made of, and when its HU are believed."""

    structure: str
    material: str
    density_g_cm3: float
    between_people_hu: float
    erode_mm: float
    margin_mm: float
    fewest_voxels: int
    plausible_hu: tuple[float, ...]


@dataclass(frozen=True)
class ReferenceSettings:
    """How references are taken, and what they must agree with."""

    correlation_mm2: float
    blood_over_muscle_hu: float
    scale_slope: tuple[float, ...]
    most_offset_hu: float
    fat_to_muscle: tuple[float, ...]
    most_disagreement_sd: float
    tissues: Mapping[str, TissueSettings]


@dataclass(frozen=True)
class EnergySettings:
    """The effective energy that a tube voltage has, and how sure it is."""

    by_tube_voltage_kev: Mapping[int, float]
    diameter_cm: float
    per_cm_kev: float
    sd_kev: float
    unknown_kev: float
    unknown_sd_kev: float
    plausible_kev: tuple[float, ...]
    most_sd_kev: float

    def at(self, tube_voltage_kv: float | None, water_diameter_cm: float | None = None) -> tuple[float, float]:
        """Effective energy in keV and its SD: of the nearest voltage within 5 kV, or else of one that is not known.

        Parameters
        ----------
        water_diameter_cm : of the trunk; that of the table when ``None``
        """
        found = _nearest(self.by_tube_voltage_kev, tube_voltage_kv)
        energy, sd = (self.unknown_kev, self.unknown_sd_kev) if found is None else (found, self.sd_kev)
        larger = 0.0 if water_diameter_cm is None else water_diameter_cm - self.diameter_cm
        return energy + self.per_cm_kev * larger, sd

    def knows(self, tube_voltage_kv: float | None) -> bool:
        """Whether the table has the voltage."""
        return _nearest(self.by_tube_voltage_kev, tube_voltage_kv) is not None


@dataclass(frozen=True)
class MultiTissueSettings:
    """Which references the multi-tissue calibration takes, and whether the tube voltage helps its search."""

    references: tuple[str, ...]
    search: str


@dataclass(frozen=True)
class MethodCoefficients:
    """What training on quantitative CT gave for one method: bias, scatter, and the tissues' densities.

    The corrected density is ``(raw - intercept) / slope``, with both from a Deming regression of raw estimates on
    quantitative CT. The calibration's standard error is multiplied by ``se_scale``, and ``residual_sd_mg_cm3`` is added
    to it, so that intervals hold what they should. ``rho`` of fat and muscle are for the two-tissue method; ``None``
    takes them from the tables.
    """

    intercept_mg_cm3: float = 0.0
    slope: float = 1.0
    residual_sd_mg_cm3: float = 0.0
    se_scale: float = 1.0
    rho_fat_mg_cm3: float | None = None
    rho_muscle_mg_cm3: float | None = None

    def __post_init__(self) -> None:
        if not self.slope > 0 or self.residual_sd_mg_cm3 < 0 or not self.se_scale >= 0:
            raise InputError(
                f"a slope of {self.slope}, a residual SD of {self.residual_sd_mg_cm3} and an SE scale of "
                f"{self.se_scale} cannot be: the first is above 0, the others are not below it; mend the configuration."
            )
        if (self.rho_fat_mg_cm3 is None) != (self.rho_muscle_mg_cm3 is None):
            raise InputError("rho of fat and rho of muscle belong together: give both in the coefficients, or neither.")


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of one method by tube voltage (kV), with their source and Youden's cut-off of the training."""

    source: str = "not fitted"
    youden_mg_cm3: float | None = None
    other: MethodCoefficients = field(default_factory=MethodCoefficients)
    by_tube_voltage: Mapping[int, MethodCoefficients] = field(default_factory=dict)

    def at(self, tube_voltage_kv: float | None) -> MethodCoefficients:
        """Those of the nearest tube voltage within 5 kV, or else ``other``."""
        found = _nearest(self.by_tube_voltage, tube_voltage_kv)
        return self.other if found is None else found

    @property
    def fitted(self) -> bool:
        """Whether any bias was fitted."""
        return any(one != MethodCoefficients() for one in (self.other, *self.by_tube_voltage.values()))


@dataclass(frozen=True)
class MeanSettings:
    """Which levels make up the mean."""

    lumbar: tuple[str, ...]
    thoracic: tuple[str, ...]
    levels_in_mean: int
    methods_differ_mg_cm3: float


@dataclass(frozen=True)
class ThoracicOffset:
    """What is added to one thoracic level's density to read it against lumbar cut-offs, and where that is from."""

    mg_cm3: float
    source: str


@dataclass(frozen=True)
class CutoffSettings:
    """Fixed cut-offs of the lumbar mean, and offsets for thoracic levels where a site has any."""

    normal_mg_cm3: float
    osteoporosis_mg_cm3: float
    source: str
    thoracic_offsets: Mapping[str, ThoracicOffset]


@dataclass(frozen=True)
class Rods:
    """The rods of one calibration phantom, from the patient's left to the right or the other way round.

    ``equivalent`` is what their densities are of: ``k2hpo4`` or ``hydroxyapatite``.
    """

    densities_mg_cm3: tuple[float, ...]
    equivalent: str
    spacing_mm: float
    radius_mm: float

    def __post_init__(self) -> None:
        _require("equivalent of a phantom's rods", self.equivalent, ("k2hpo4", "hydroxyapatite"))
        if len(set(self.densities_mg_cm3)) < 3 or not self.radius_mm > 2 or not self.spacing_mm > 2 * self.radius_mm:
            raise InputError("a phantom needs three rods or more, each wider than 4 mm and apart from its neighbour.")


@dataclass(frozen=True)
class PhantomSettings:
    """Calibration phantoms that are looked for under the back, and how well their rods must lie on a line."""

    kinds: Mapping[str, Rods]
    hu_per_mg_cm3: tuple[float, ...]
    most_residual_hu: float


@dataclass(frozen=True)
class BoneDensitySettings:
    """How bone density is measured (see ``configs/bone_density.yaml``).

    Raises
    ------
    InputError
        When a method, a reference, or a choice is not known.
    """

    method: str
    contrast: str
    region: RegionSettings
    references: ReferenceSettings
    energy: EnergySettings
    multi_tissue: MultiTissueSettings
    coefficients: Mapping[str, Coefficients]
    mean: MeanSettings
    cutoffs: CutoffSettings
    phantom: PhantomSettings

    def __post_init__(self) -> None:
        _require("method", self.method, METHODS)
        _require("contrast", self.contrast, ("refuse", "flag"))
        _require("multi_tissue.search", self.multi_tissue.search, ("with_tube_voltage", "free"))
        for name in self.multi_tissue.references:
            _require("multi_tissue.references", name, tuple(self.references.tissues))
        if len(set(self.multi_tissue.references)) < 2:
            raise InputError("multi_tissue.references needs two tissues or more: a line cannot go through one.")

    def uncorrected(self) -> BoneDensitySettings:
        """The same without what training gave: no bias taken off, no residual SD, rho from the tables."""
        return replace(self, coefficients={method: Coefficients() for method in METHODS})

    def with_coefficients(self, method: str, coefficients: Coefficients) -> BoneDensitySettings:
        """The same with other coefficients for one method."""
        _require("method", method, METHODS)
        return replace(self, coefficients={**self.coefficients, method: coefficients})


@cache
def read_bone_density_settings(path: Path | str | None = None) -> BoneDensitySettings:
    """Read a file like ``configs/bone_density.yaml``, which is read when no other is named.

    Raises
    ------
    InputError
        When the file is missing or unreadable, lacks a key, or has one that is not known.
    """
    path = Path(path) if path is not None else config_path("bone_density.yaml")
    try:
        table = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: give a file like configs/bone_density.yaml.") from error
    return _build(BoneDensitySettings, table, path.name)


def _build(kind: Any, value: Any, where: str) -> Any:
    """A value of a type hint from what YAML holds; the place is named in a refusal."""
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin in (Union, types.UnionType):
        inner = next(one for one in get_args(kind) if one is not type(None))
        return None if value is None else _build(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where} is {value!r}: give a list.")
        return tuple(_build(get_args(kind)[0], one, where) for one in value)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise InputError(f"{where} is {value!r}: give a mapping, {{}} when it is empty.")
        key, inner = get_args(kind)
        return {_build(key, name, where): _build(inner, one, f"{where}.{name}") for name, one in value.items()}
    right = {float: (int, float), int: (int,), str: (str,)}[kind]
    if not isinstance(value, right) or isinstance(value, bool):
        raise InputError(f"{where} is {value!r}: give a {'text' if kind is str else 'number'}.")
    return kind(value)


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where} is {value!r}: give a mapping like the one in configs/bone_density.yaml.")
    hints = get_type_hints(kind)
    strange = sorted(set(value) - set(hints), key=str)
    if strange:
        raise InputError(f"{where} has the key '{strange[0]}', which is not known: it has {', '.join(hints)}.")
    parts = {name: _build(hints[name], one, f"{where}.{name}") for name, one in value.items()}
    missing = [one.name for one in fields(kind) if one.name not in parts and not _has_default(one)]
    if missing:
        raise InputError(f"{where} lacks '{missing[0]}': copy it from configs/bone_density.yaml.")
    return kind(**parts)


def _has_default(one: Any) -> bool:
    return one.default is not MISSING or one.default_factory is not MISSING


def _nearest(table: Mapping[int, Any], tube_voltage_kv: float | None) -> Any:
    if tube_voltage_kv is None or not table:
        return None
    voltage = min(table, key=lambda one: abs(one - tube_voltage_kv))
    return table[voltage] if abs(voltage - tube_voltage_kv) <= _VOLTAGE_TOLERANCE_KV else None


def _require(where: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{where} is '{value}': it is one of {', '.join(known)}.")
