"""A small case whose picture can be predicted: a body with pectoralis on the right only and erector spinae behind."""

from __future__ import annotations

import numpy as np

from myotome.biomarkers import measure_muscles
from myotome.geometry import Acquisition, Grid, Volume, reorient
from myotome.measurement import CaseResult, Provenance
from myotome.structures import LabelMap, read_label_schema


def make_case(
    codes: str = "RAS", name: str = "scan", levels: dict[str, int] | None = None
) -> tuple[Volume, CaseResult]:
    """Body 240 x 160 x 120 mm at 2 x 2 x 6 mm; pectoralis in slices 8-15, erector spinae in 2-17."""
    shape = (150, 110, 20)
    density, labels = np.full(shape, -1000, np.int16), np.zeros(shape, np.uint8)
    density[15:135, 15:95] = -80
    density[90:120, 80:90, 8:16], labels[90:120, 80:90, 8:16] = 50, 1
    for side in (slice(50, 70), slice(80, 100)):
        density[side, 20:30, 2:18], labels[side, 20:30, 2:18] = 40, 2
    density[70:80, 30:45] = 400
    affine = np.diag([2.0, 2.0, 6.0, 1.0])
    affine[:3, 3] = (-149, -109, 0)
    turned, turned_affine = reorient(density, affine, codes)
    turned_labels, _ = reorient(labels, affine, codes)
    grid = Grid(turned.shape, turned_affine)
    volume = Volume(
        turned, grid, acquisition=Acquisition(subject_id="S-17", kernel="B40f", flags=("lossy_compression",))
    )
    label_map = LabelMap(np.ascontiguousarray(turned_labels), grid, read_label_schema())
    measurements, flags = measure_muscles(volume, label_map, levels=levels)
    provenance = Provenance(
        bundle="respiratory_muscle_ct_segmentation",
        bundle_version="0.1.0",
        weights_sha256="ab" * 32,
        software={"myotome": "0.1.0"},
        device="cpu",
        input={"name": name, "subject_id": "S-17", "patient_name": "Doe^Jane", "study_uid": None},
        notes=("the input has no DICOM headers",),
    )
    return volume, CaseResult(label_map, measurements, provenance, flags)
