"""Slices whose every area is known, and scores whose every mean is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from myotome.geometry import Acquisition, Grid, Volume
from myotome.structures import LabelMap, read_label_schema
from myotome.studies.l3_transfer.cases import SCHEMA, L3Slice, take_slice
from myotome.studies.l3_transfer.settings import StudySettings, read_study_settings

SPACING = (0.8, 0.8)
OUTER_MM, INNER_MM, FAT_MM = 60.0, 45.0, 50.0
MUSCLE_HU, FAT_HU, ORGAN_HU = 50, -100, 40


def make_settings(**choices) -> StudySettings:
    return read_study_settings().changed(**{"resamples": 200, **choices})


def make_disc(radius_mm: float, size: int = 200) -> np.ndarray:
    place = (np.arange(size) - (size - 1) / 2) * SPACING[0]
    return np.hypot(*np.meshgrid(place, place, indexing="ij")) <= radius_mm


def make_volume(case: int = 0, height_m: float | None = None) -> tuple[Volume, LabelMap]:
    """A ring of muscle from 45 (and a bit more per case) to 60 mm around visceral fat, with a fatty arc in it."""
    inner = INNER_MM + 0.5 * case
    body, outer, core = make_disc(75), make_disc(OUTER_MM), make_disc(inner)
    label = np.zeros(body.shape, np.uint8)
    label[body] = 2
    label[outer] = 1
    label[core] = 3
    arc = make_disc(56) & ~make_disc(54)
    arc[:, : body.shape[1] // 2] = False
    label[arc] = 4
    density = np.full(body.shape, -1000, np.int16)
    density[body] = FAT_HU
    density[label == 1] = MUSCLE_HU + case
    grid = Grid((*body.shape, 1), np.diag([*SPACING, 5.0, 1.0]))
    volume = Volume(density[..., None], grid, "CT", Acquisition(height_m=height_m))
    return volume, LabelMap(label[..., None], grid, read_label_schema(SCHEMA))


def make_slice(case: int = 0, height_m: float | None = 1.7) -> L3Slice:
    return take_slice(f"case_{case:06d}", *make_volume(case), height_m)


GAIN = {"scratch": 0.0, "jigsaw": 0.05, "phantom": 0.10}


def make_scores(cases: int = 24, sizes=(5, 10, 25), repeats: int = 2, seed: int = 0) -> pd.DataFrame:
    """DSC of 0.8 + 0.02 per step of n + the source's gain, an RMS-DTA of 30 mm times what it lacks, SMA 10 % too low.

    Patients differ by an SD of 0.02, which cancels in differences; trainings add 0.002.
    """
    rng = np.random.default_rng(seed)
    of_case, rows = rng.normal(0, 0.02, cases), []
    for source, gain in GAIN.items():
        for step, n in enumerate(sizes):
            for repeat in range(1, repeats + 1):
                for case in range(cases):
                    dice = 0.8 + 0.02 * step + gain + of_case[case] + rng.normal(0, 0.002)
                    area = 120.0 + 2 * case
                    rows.append(
                        {
                            "source": source,
                            "n": n,
                            "repeat": repeat,
                            "fold": case % 4 + 1,
                            "case": f"case_{case:06d}",
                            "patient": f"case_{case:06d}",
                            **{f"{name}_dice": dice for name in ("skeletal_muscle", "muscle_compartment")},
                            **{
                                f"{name}_rms_dta_mm": 30 * (1 - dice)
                                for name in ("skeletal_muscle", "muscle_compartment")
                            },
                            "sma_cm2": 0.9 * area,
                            "reference_sma_cm2": area,
                            "smd_hu": 41.0 + case,
                            "reference_smd_hu": 40.0 + case,
                            "smi_cm2_m2": 0.9 * area / 2.89,
                            "reference_smi_cm2_m2": area / 2.89,
                        }
                    )
    return pd.DataFrame(rows)


def make_readings(lowest: float = 0.9, highest: float = 0.95, cases: int = 24) -> pd.DataFrame:
    """Three observers with a DSC of the lowest, the middle and the highest, whose SMA is 2 % apart from the next's."""
    rows = []
    for place, dice in enumerate((lowest, (lowest + highest) / 2, highest)):
        for case in range(cases):
            area = 120.0 + 2 * case
            rows.append(
                {
                    "observer": f"observer {place + 1}",
                    "case": f"case_{case:06d}",
                    **{f"{name}_dice": dice for name in ("skeletal_muscle", "muscle_compartment")},
                    **{f"{name}_rms_dta_mm": 30 * (1 - dice) for name in ("skeletal_muscle", "muscle_compartment")},
                    "sma_cm2": area * (0.98 + 0.02 * place),
                    "reference_sma_cm2": area,
                    "smd_hu": 40.0 + case,
                    "reference_smd_hu": 40.0 + case,
                    "smi_cm2_m2": area / 2.89,
                    "reference_smi_cm2_m2": area / 2.89,
                }
            )
    return pd.DataFrame(rows)
