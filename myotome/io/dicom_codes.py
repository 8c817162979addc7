"""Coded concepts that the DICOM outputs share, and the private scheme for what has no public code."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from myotome import structures
from myotome.measurement import Measurement

__all__ = [
    "LATERALITY",
    "MANUFACTURER",
    "PRIVATE_SCHEME",
    "STATISTICS",
    "VERTEBRAE",
    "declare_private_scheme",
    "make_uid",
    "measure_code",
    "method_code",
    "missing_attribute",
    "private_code",
    "public_code",
    "unit_code",
]

MANUFACTURER = "Myotome"
PRIVATE_SCHEME = "99MYOTOME"
LATERALITY = {"right": Code("24028007", "SCT", "Right"), "left": Code("7771000", "SCT", "Left")}
STATISTICS = {
    "mean": Code("373098007", "SCT", "Mean"),
    "median": Code("373099004", "SCT", "Median"),
    "sd": Code("386136009", "SCT", "Standard Deviation"),
}
VERTEBRAE = {
    "T8": Code("11068009", "SCT", "T8 vertebra"),
    "T9": Code("82687006", "SCT", "T9 vertebra"),
    "T10": Code("7610001", "SCT", "T10 vertebra"),
    "T11": Code("12989004", "SCT", "T11 vertebra"),
    "T12": Code("23215003", "SCT", "T12 vertebra"),
    "L1": Code("66794005", "SCT", "L1 vertebra"),
    "L2": Code("14293000", "SCT", "L2 vertebra"),
    "L3": Code("36470004", "SCT", "L3 vertebra"),
    "L4": Code("11994002", "SCT", "L4 vertebra"),
    "L5": Code("49668003", "SCT", "L5 vertebra"),
}
_VOLUME = Code("118565006", "SCT", "Volume")
_AREA = Code("42798000", "SCT", "Area")
_ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
# measure: (private code value, meaning), for what no public code names
_PRIVATE = {
    "nama_share": ("NAMA_SHARE", "Share of normal attenuation muscle"),
    "lama_share": ("LAMA_SHARE", "Share of low attenuation muscle"),
    "imat_share": ("IMAT_SHARE", "Share of intermuscular adipose tissue"),
    "volume_per_length": ("VOL_PER_LENGTH", "Volume per scanned length"),
    "volume_per_height2": ("VOL_PER_HEIGHT2", "Volume per squared body height"),
    "volume_per_height3": ("VOL_PER_HEIGHT3", "Volume per cubed body height"),
    "fat_fraction": ("FAT_FRACTION", "Fat fraction of the muscle's area"),
    "fat_fraction_otsu": ("FAT_FRACTION_OTS", "Fat fraction of the muscle's area by Otsu's threshold"),
    "occupation_ratio": ("OCCUPATION_RATIO", "Muscle area per fossa area"),
    "tangent_sign": ("TANGENT_SIGN", "Tangent sign (1 positive, 0 negative)"),
    "height_above_tangent": ("ABOVE_TANGENT", "Height of the muscle above the tangent"),
    "y_view_slice": ("Y_VIEW_SLICE", "Index of the Y-view's slice, from 0"),
    "goutallier_grade": ("GOUTALLIER", "Goutallier grade of fatty infiltration"),
    "grade_probability": ("PROBABILITY", "Probability of Goutallier"),
    "positive_probability": ("POSITIVE", "Probability of the positive answer to definition"),
    "nama_share_of_sma": ("NAMA_OF_SMA", "Share of normal attenuation muscle in the muscle area"),
    "lama_share_of_sma": ("LAMA_OF_SMA", "Share of low attenuation muscle in the muscle area"),
    "visceral_per_subcutaneous": ("VAT_PER_SAT", "Visceral per subcutaneous fat area"),
    "l3_slice": ("L3_SLICE", "Index of the slice of L3, from 0"),
    "l3_confidence": ("L3_CONFIDENCE", "Confidence that the slice is L3"),
    "slices_measured": ("SLICES_MEASURED", "Number of slices that were measured"),
    "area_per_height2": ("AREA_PER_HEIGHT2", "Area per squared body height"),
    "bmd": ("VBMD_K2HPO4", "Trabecular bone density, K2HPO4 equivalent"),
    "bmd_ha": ("VBMD_HA", "Trabecular bone density, hydroxyapatite equivalent"),
    "bmd_two_tissue": ("VBMD_TWO", "Trabecular bone density by two tissues, K2HPO4 equivalent"),
    "bmd_multi_tissue": ("VBMD_MULTI", "Trabecular bone density by several tissues, K2HPO4"),
    "bmd_class": ("VBMD_CLASS", "Class of bone density (0 normal, 1 low, 2 osteoporosis)"),
    "below_youden": ("BELOW_YOUDEN", "Below the cut-off of the training (1 yes, 0 no)"),
    "height_loss": ("HEIGHT_LOSS", "Height loss of the vertebral body"),
    "effective_energy": ("EFFECTIVE_ENERGY", "Effective energy of the scan"),
    "ap_diameter": ("AP_DIAMETER", "Anteroposterior diameter"),
    "transverse_diameter": ("TRANSV_DIAMETER", "Transverse diameter"),
    "disc_height": ("DISC_HEIGHT", "Disc height, mean of anterior and posterior (Dabbs)"),
    "disc_height_index": ("DISC_HEIGHT_IDX", "Disc height index (Farfan)"),
    "signal_per_csf": ("SIGNAL_PER_CSF", "Signal per signal of cerebrospinal fluid"),
    "disc_slice": ("DISC_SLICE", "Index of the slice that was measured, from 0"),
    "detection_score": ("DETECTION_SCORE", "Score of the detector"),
}
_PUBLIC = {
    "volume": _VOLUME,
    "muscle_volume": _VOLUME,
    "region_volume": _VOLUME,
    "area": _AREA,
    "muscle_area": _AREA,
    "nama_area": _AREA,
    "lama_area": _AREA,
    "imat_area": _AREA,
    "fat_area": _AREA,
    "density": _ATTENUATION,
    "contour_density": _ATTENUATION,
    "reference_density": _ATTENUATION,
}
_MUSCLE_RANGE = ("MUSCLE_RANGE", "Contour voxels of -29 to 150 HU")
_METHODS = {
    "muscle_volume": _MUSCLE_RANGE,
    "muscle_area": _MUSCLE_RANGE,
    "density": _MUSCLE_RANGE,
    "nama_area": ("NAMA_RANGE", "Contour voxels of 30 to 150 HU"),
    "lama_area": ("LAMA_RANGE", "Contour voxels of -29 to 29 HU"),
    "imat_area": ("FAT_RANGE", "Contour voxels of -190 to -30 HU"),
    "fat_area": ("FAT_RANGE", "Contour voxels of -190 to -30 HU"),
    "reference_density": ("REFERENCE_MODE", "Robust mode of the eroded contour"),
}
_TRABECULAR = ("TRABECULAR", "Trabecular region of the vertebral body")
_WHOLE_CONTOUR = ("WHOLE_CONTOUR", "Whole contour")
_UNITS = {
    "mL": "milliliter",
    "cm2": "square centimeter",
    "mm2": "square millimeter",
    "[hnsf'U]": "Hounsfield unit",
    "%": "percent",
    "mm": "millimeter",
    "mg/cm3": "milligram per cubic centimeter",
    "keV": "kiloelectronvolt",
    "1": "no units",
}


def public_code(code: structures.Code) -> Code:
    """A structure's code as pydicom's."""
    return Code(code.value, code.scheme, code.meaning)


def private_code(value: str, meaning: str) -> Code:
    """A code of the private scheme."""
    return Code(value, PRIVATE_SCHEME, meaning[:64])


def measure_code(measurement: Measurement) -> Code:
    """What a measurement is of: a public code where there is one, else one of the private scheme.

    A private one has a statistic that is not among `STATISTICS`, such as a grade or a definition, in its name.
    """
    measure, statistic = measurement.measure, measurement.statistic
    if measure in _PUBLIC:
        return _PUBLIC[measure]
    value, meaning = _PRIVATE.get(measure, (measure.upper(), measure.replace("_", " ").capitalize()))
    if statistic != "total" and statistic not in STATISTICS:
        value, meaning = f"{value}_{statistic.upper()}", f"{meaning} {statistic.replace('_', ' ')}"
    return private_code(value, meaning)


def method_code(measurement: Measurement) -> Code | None:
    """Which voxels were measured, for the measures whose public code does not say; of MR, how."""
    if measurement.measure not in _PUBLIC:
        return None
    if measurement.structure.startswith("vertebral_"):
        return private_code(*_TRABECULAR)
    return private_code(*_METHODS.get(measurement.measure, _WHOLE_CONTOUR))


def unit_code(unit: str) -> Code:
    """A UCUM unit."""
    return Code(unit, "UCUM", _UNITS.get(unit, unit))


def make_uid(*entropy: str) -> str:
    """A UID made from a hash, so that equal inputs give equal UIDs."""
    return str(generate_uid(prefix="1.2.826.0.1.3680043.8.498.", entropy_srcs=list(entropy)))


def missing_attribute(error: Exception) -> str:
    """What a header lacks, in brackets; nothing for other errors, whose text may quote a patient's data."""
    name = getattr(error, "name", None) if isinstance(error, AttributeError) else None
    if isinstance(error, AttributeError) and name is None and (found := re.search(r"attribute '(\w+)'", str(error))):
        name = found[1]
    return f" ({name} is missing)" if name else ""


def declare_private_scheme(dataset: Dataset) -> None:
    """Say in an object whose the private coding scheme is."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = PRIVATE_SCHEME
    scheme.CodingSchemeName = "Myotome measurement concepts"
    scheme.CodingSchemeResponsibleOrganization = "The Myotome project"
    dataset.CodingSchemeIdentificationSequence = [*dataset.get("CodingSchemeIdentificationSequence", []), scheme]
