"""What measures are called, for people: pages, terminals."""

from __future__ import annotations

from myotome.measurement import Measurement

__all__ = ["name_measure", "name_unit"]

_NAMES = {
    "fat_fraction": "Fat fraction, Gaussian mixture",
    "fat_fraction_otsu": "Fat fraction, Otsu's threshold",
    "occupation_ratio": "Occupation ratio",
    "tangent_sign": "Tangent sign",
    "height_above_tangent": "Height above the tangent",
    "y_view_slice": "Slice of the Y-view",
    "goutallier_grade": "Goutallier grade",
    "grade_probability": "Probability of grade",
    "positive_probability": "Probability, definition",
}
_UNITS = {"cm2": "cm²", "[hnsf'U]": "HU", "1": ""}


def name_measure(row: Measurement) -> str:
    """What a row measures, with its statistic where that is not the plain one."""
    name = _NAMES.get(row.measure, row.measure.replace("_", " ").capitalize())
    statistic = "" if row.statistic == "total" else row.statistic.removeprefix("grade_")
    return f"{name} {statistic}".rstrip()


def name_unit(unit: str) -> str:
    """A UCUM unit as people write it; nothing for the unit 1."""
    return _UNITS.get(unit, unit)
