"""Scans whose every number is known: surveys in numbers alone, and phantoms of a few blocks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from myotome.biomarkers.bone_density import (
    BoneDensitySettings,
    BoneSurvey,
    LevelSurvey,
    References,
    ReferenceTissue,
    read_bone_density_settings,
)
from myotome.geometry import Acquisition, Grid, Volume
from myotome.phantoms.bone import BoneCase, BoneScan
from myotome.structures import LabelMap, read_label_schema
from myotome.studies.protocol import People
from myotome.studies.qct_agreement.jobs import Job
from myotome.studies.qct_agreement.readings import COLUMNS, Reference, describe_survey
from myotome.studies.qct_agreement.settings import StudySettings, read_study_settings

FAT_HU, MUSCLE_HU = -100.0, 55.0
HU_PER_MG = 1.35
"""Of the bone in these surveys, by the scanner at 120 kV."""


def make_settings(**choices) -> StudySettings:
    return read_study_settings().changed(**{"resamples": 200, **choices})


def make_bone_settings() -> BoneDensitySettings:
    return read_bone_density_settings().uncorrected()


def make_survey(
    bmd: float, fat_hu: float = FAT_HU, muscle_hu: float = MUSCLE_HU, voltage: float = 120.0, **more: Any
) -> BoneSurvey:
    """L1 and L2 of a density, between fat and muscle; ``more`` goes to the references."""
    tissues = {
        "fat": ReferenceTissue(fat_hu, 0.5, 12.0, 4000),
        "muscle": ReferenceTissue(muscle_hu, 0.5, 14.0, 4000),
        "blood": ReferenceTissue(44.0, 1.0, 14.0, 800),
        "air": ReferenceTissue(-1000.0, 0.2, 10.0, 9000),
    }
    references = References(**{"tissues": tissues, "tube_voltage_kv": voltage, **more})
    levels = {
        level: LevelSurvey(level, bmd * HU_PER_MG, 1.0, 6.0, 3.0, (z, z + 5), (0.0, 0.0, 5.0 * z), references)
        for level, z in (("L1", 10), ("L2", 2))
    }
    return BoneSurvey(levels, references)


def make_row(job: Job, survey: BoneSurvey, qct: float | None, truth: float | None, **facts: Any) -> dict[str, Any]:
    """A row as a worker keeps it, after JSON."""
    reference = Reference(qct, 0.0 if qct is not None else None, ("L1", "L2"), "" if qct is not None else "no rods")
    known = {"sex": "F", "age_years": 60.0, "kernel": "STANDARD", "scanner": "A", "slice_thickness_mm": 5.0}
    known |= {"noise_hu": 12.0, "tube_voltage_kv": survey.tube_voltage_kv, **facts}
    row = {
        "job_id": job.job_id,
        "job": job.__dict__,
        "facts": known,
        "survey": describe_survey(survey),
        "reference": reference.__dict__,
        "truth_mg_cm3": truth,
        "seconds": 1.0,
    }
    return json.loads(json.dumps(row))


def make_people(
    part: str, count: int, seed: int, spread: float = 3.0, voltages: tuple[float, ...] = (120.0,)
) -> list[dict[str, Any]]:
    """Rows of people of 60 to 160 mg/cm3, whose fat and muscle differ by an SD of ``spread`` HU from what they seem."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        bmd, voltage = float(rng.uniform(60, 160)), voltages[number % len(voltages)]
        fat, muscle = (float(hu + rng.normal(0, spread)) for hu in (FAT_HU, MUSCLE_HU))
        job = Job(part, f"case_{number:03d}", f"case_{number:03d}", seed=number)
        rows.append(make_row(job, make_survey(bmd, fat, muscle, voltage), bmd + float(rng.normal(0, 0.5)), bmd))
    return rows


def make_readings(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Readings with every column; what is not said is the usual."""
    usual = {"part": "test", "method": "two_tissue", "factor": "", "step": 0, "fault": "", "flags": "", "reason": ""}
    usual |= {"outcome": "compared", "counted": True, "positive": False, "qct": np.nan, "truth": np.nan}
    usual |= {"lower": np.nan, "upper": np.nan, "sex": "F", "tube_voltage_kv": 120.0}
    table = []
    for number, row in enumerate(rows):
        names = {"case": f"case_{number:03d}", "patient": f"case_{number:03d}", "job_id": f"job_{number:03d}"}
        table.append({**dict.fromkeys(COLUMNS), **usual, **names, **row})
    return pd.DataFrame(table, columns=list(COLUMNS))


# -- phantoms of a few blocks ------------------------------------------------------------------------------------------

SHAPE, SPACING_MM = (60, 60, 14), (4.0, 4.0, 5.0)
_DENSITY_HU = {"subcutaneous_fat": -100, "erector_spinae": 55, "aorta": 44, "air": -1000, "cortical_bone": 900}


def make_block_case(seed: int, scan: BoneScan) -> BoneCase:
    """A square person in air: fat around water, in it muscle, an aorta, and the bodies of L1 and L2."""
    schema = read_label_schema("bone_density_ct")
    bmd = 60.0 + 7 * (seed % 13)
    image, labels = np.full(SHAPE, -1000, np.int16), np.full(SHAPE, schema["air"].index, np.uint8)
    image[8:52, 8:52], labels[8:52, 8:52] = _DENSITY_HU["subcutaneous_fat"], schema["subcutaneous_fat"].index
    image[14:46, 14:46], labels[14:46, 14:46] = 0, 0
    for name, box in (("erector_spinae", np.s_[16:44, 15:25]), ("aorta", np.s_[18:26, 40:46])):
        image[box], labels[box] = _DENSITY_HU[name], schema[name].index
    for name, z in (("vertebral_body_l2", 1), ("vertebral_body_l1", 8)):
        box = np.s_[24:37, 28:39, z : z + 5]
        image[box], labels[box] = round(bmd * HU_PER_MG), schema[name].index
    rng = np.random.default_rng((seed, scan.acquisition_seed))
    image = image + rng.normal(scan.hu_offset, 2, SHAPE).round().astype(np.int16)
    grid = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]))
    acquisition = Acquisition(
        tube_voltage_kv=120.0,
        kernel="STANDARD",
        slice_thickness_mm=5.0,
        sex="F" if seed % 2 else "M",
        contrast_agent=None if scan.contrast == "none" else "synthetic",
    )
    truth = {"bmd_mg_cm3": bmd, "age_years": 60.0, "scanner": scan.scanner, "noise_hu": scan.noise_hu}
    return BoneCase(Volume(image, grid, "CT", acquisition), LabelMap(labels, grid, schema), truth)


def small_study(**choices: Any) -> StudySettings:
    """A few people in each part, and repeats of drift alone."""
    settings = make_settings()
    repeats = replace(settings.repeats, people=People(2300000, 3), factors={"drift": [{"hu_offset": {"plus": 15}}]})
    faults = {name: settings.broken.faults[name] for name in ("missing_fat", "wrong_slope")}
    changed = {
        "scan": {**settings.scan, "hu_offset": {"set": 0.0}},
        "training": People(2100000, 14),
        "test": People(2200000, 13),
        "repeats": repeats,
        "broken": replace(settings.broken, people=People(2400000, 2), faults=faults),
        "precision": {"drift": settings.precision["drift"]},
        "bars": tuple(bar for bar in settings.bars if bar["measure"] != "dose_and_kernel"),
    }
    return settings.changed(**{**changed, **choices})
