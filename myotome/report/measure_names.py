"""What measures are called, for people: pages, terminals."""

from __future__ import annotations

from myotome.measurement import Measurement

__all__ = ["format_value", "name_in_sentence", "name_measure", "name_unit"]

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
    "muscle_area": "Muscle area (SMA)",
    "area_per_height2": "Muscle index (SMI)",
    "nama_area": "Normal attenuation muscle (NAMA)",
    "nama_share_of_sma": "NAMA, share of SMA",
    "lama_area": "Low attenuation muscle (LAMA)",
    "lama_share_of_sma": "LAMA, share of SMA",
    "imat_area": "Intermuscular fat (IMAT)",
    "imat_share": "IMAT, share of muscle and fat",
    "visceral_per_subcutaneous": "Visceral per subcutaneous fat",
    "l3_slice": "Slice of L3",
    "l3_confidence": "Confidence of the level",
    "bmd": "Bone density (K2HPO4)",
    "bmd_ha": "Bone density (hydroxyapatite)",
    "bmd_two_tissue": "Bone density, two tissues",
    "bmd_multi_tissue": "Bone density, several tissues",
    "bmd_class": "Class by fixed cut-offs",
    "below_youden": "Below the training's cut-off",
    "height_loss": "Height loss",
    "region_volume": "Volume of the region",
    "effective_energy": "Effective energy",
    "reference_density": "Reference HU",
    "ap_diameter": "AP diameter",
    "disc_height_index": "Disc height index",
    "signal_per_csf": "Signal per CSF",
    "disc_slice": "Slice that was measured",
    "detection_score": "Score of the detector",
}
_UNITS = {"cm2": "cm²", "mm2": "mm²", "cm2/m2": "cm²/m²", "mg/cm3": "mg/cm³", "[hnsf'U]": "HU", "1": ""}


def name_measure(row: Measurement) -> str:
    """What a row measures, with its statistic where that is not the plain one."""
    name = _NAMES.get(row.measure, row.measure.replace("_", " ").capitalize())
    statistic = "" if row.statistic == "total" else row.statistic.removeprefix("grade_")
    return f"{name} {statistic}".rstrip()


def name_in_sentence(row: Measurement) -> str:
    """The same without its capital; acronyms keep theirs."""
    name = name_measure(row)
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def name_unit(unit: str) -> str:
    """A UCUM unit as people write it; nothing for the unit 1."""
    return _UNITS.get(unit, unit)


def format_value(row: Measurement | None, digits: int = 1) -> str:
    """A value with its unit and, where there is one, its interval; a dash for none."""
    if row is None or row.value is None:
        return "–"
    interval = ""
    if row.lower is not None and row.upper is not None:
        interval = f" ({row.lower:.{digits}f} to {row.upper:.{digits}f})"
    return f"{row.value:.{digits}f}{interval} {name_unit(row.unit)}".rstrip()
