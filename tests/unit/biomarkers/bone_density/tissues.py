"""References whose true HU are known: of an energy, seen through a scanner's scale."""

from __future__ import annotations

from dataclasses import replace

from myotome.attenuation import compute_k2hpo4_slope
from myotome.biomarkers.bone_density import References, ReferenceTissue
from tests.unit.biomarkers.spines import true_hu


def make_references(energy_kev=68.0, *, scale=1.0, offset_hu=0.0, tube_voltage_kv=120.0, se_hu=0.5, **changes):
    """All five tissues; ``changes`` are a tissue's true HU, or ``None`` where it is missing."""
    hu = true_hu(energy_kev) | changes
    tissues = {
        name: ReferenceTissue(offset_hu + scale * value, se_hu, 12.0, 3000)
        for name, value in hu.items()
        if value is not None
    }
    return References(tissues, tube_voltage_kv)


def with_voxels(references, tissue, voxels):
    """The same with so many voxels of one tissue."""
    return replace(
        references, tissues=dict(references.tissues) | {tissue: replace(references.tissues[tissue], voxels=voxels)}
    )


def bone_hu(bmd_mg_cm3, energy_kev=68.0, *, scale=1.0, offset_hu=0.0):
    """HU of bone of a K2HPO4-equivalent density."""
    return offset_hu + scale * bmd_mg_cm3 * float(compute_k2hpo4_slope(energy_kev))
