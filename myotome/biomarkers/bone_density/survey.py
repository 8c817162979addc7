"""What a CT holds for a measurement of bone density, in numbers: after it nothing needs the voxels any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from myotome.biomarkers.abdominal_image import is_sharp_kernel
from myotome.biomarkers.bone_density.references import References, tally_references
from myotome.biomarkers.bone_density.regions import find_trabecular_regions, out_of_order
from myotome.biomarkers.bone_density.settings import BoneDensitySettings, read_bone_density_settings
from myotome.biomarkers.bone_density.two_tissue import compute_ratio
from myotome.biomarkers.flags import thick_slices
from myotome.biomarkers.orientation import compute_tilt_degrees
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.structures import LabelMap

__all__ = ["SCHEMA", "BoneSurvey", "LevelSurvey", "compute_mean_ratio", "survey_bone"]

SCHEMA = "bone_density_ct"

_OBLIQUE_DEGREES, _COARSE_MM = 10.0, 3.0
_CUSTOMARY_KV, _KV_TOLERANCE = 120.0, 5.0


@dataclass(frozen=True)
class LevelSurvey:
    """One body: HU of its trabecular region and their standard error, its height loss, and its slices' references.

    ``hu`` is ``None`` where nothing is measured; ``flags`` then say why.
    """

    level: str
    hu: float | None
    hu_se: float | None
    volume_ml: float
    height_loss_percent: float | None
    slices: tuple[int, int]
    centre_mm: tuple[float, float, float]
    references: References
    flags: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether its density counts: it has HU and is not fractured."""
        return self.hu is not None and "fractured" not in self.flags


@dataclass(frozen=True)
class BoneSurvey:
    """One scan: its bodies from the highest to the lowest, references of all their slices, and the image's flags."""

    levels: Mapping[str, LevelSurvey]
    references: References
    flags: tuple[str, ...] = ()

    @property
    def tube_voltage_kv(self) -> float | None:
        """As the header has it."""
        return self.references.tube_voltage_kv


def survey_bone(volume: Volume, label_map: LabelMap, settings: BoneDensitySettings | None = None) -> BoneSurvey:
    """Measure HU of the trabecular regions and of the references beside them.

    Parameters
    ----------
    volume : CT in HU, of any axis order
    label_map : on its grid, in the numbering of ``bone_density_ct``

    Returns
    -------
    BoneSurvey
        Without levels where no body is labelled. Its flags are the image's: ``thick_slices``, ``sharp_kernel``,
        ``tube_voltage_not_120``, ``tube_voltage_unknown``, ``not_axial``, ``heights_coarse`` (slices over 3 mm apart),
        ``levels_unsure`` (bodies that do not follow each other as their names do), and what reading the image flagged.

    Raises
    ------
    InputError
        When the grids differ, the image is not a CT, or the labels are of another schema.
    """
    settings = settings or read_bone_density_settings()
    _check(volume, label_map)
    regions = find_trabecular_regions(volume, label_map, settings)
    slices = sorted({z for region in regions.values() for z in range(*region.slices)})
    tally = tally_references(volume, label_map, slices, settings)
    levels = {
        level: LevelSurvey(
            level,
            region.hu,
            region.hu_se,
            region.volume_ml,
            region.height_loss_percent,
            region.slices,
            region.centre_mm,
            tally.at(range(*region.slices)),
            region.flags,
        )
        for level, region in regions.items()
    }
    every = tuple(settings.region.heights_mm)
    whole = {level: region.centre_mm for level, region in regions.items() if region.heights is not None}
    unsure = out_of_order(whole, every)
    flags = (*_image_flags(volume), *(("levels_unsure",) if unsure else ()))
    return BoneSurvey(levels, tally.at(slices), tuple(dict.fromkeys(flags)))


def compute_mean_ratio(survey: BoneSurvey, levels: Iterable[str]) -> float:
    """Mean over levels of how far bone lies from fat on the way to muscle (see `compute_ratio`).

    Raises
    ------
    InputError
        Without levels, or where one has no HU or no references.
    """
    found = [survey.levels[level] for level in levels]
    if not found or any(one.hu is None for one in found):
        raise InputError("there is no ratio without a level that has HU: leave such cases out.")
    return sum(compute_ratio(float(one.hu or 0), one.references) for one in found) / len(found)


def _check(volume: Volume, label_map: LabelMap) -> None:
    if volume.modality != "CT":
        raise InputError(f"bone density is measured on CT, and this image is {volume.modality}: give the CT series.")
    if label_map.schema.name != SCHEMA:
        raise InputError(f"these labels are of '{label_map.schema.name}': bone density needs those of '{SCHEMA}'.")
    if not volume.grid.same_as(label_map.grid):
        raise InputError(
            f"the label map ({label_map.grid.shape}) is not on the image's grid ({volume.grid.shape}): "
            "resample it to the image by nearest neighbour."
        )


def _image_flags(volume: Volume) -> tuple[str, ...]:
    acquisition = volume.acquisition
    voltage = acquisition.tube_voltage_kv
    flags = {
        "thick_slices": thick_slices(volume),
        "sharp_kernel": is_sharp_kernel(acquisition.kernel),
        "tube_voltage_unknown": voltage is None,
        "tube_voltage_not_120": voltage is not None and abs(voltage - _CUSTOMARY_KV) > _KV_TOLERANCE,
        "heights_coarse": volume.grid.spacing_mm[volume.grid.axis("IS")] > _COARSE_MM,
        "not_axial": compute_tilt_degrees(volume.grid, "IS") > _OBLIQUE_DEGREES,
    }
    return (*acquisition.flags, *(name for name, raised in flags.items() if raised))
