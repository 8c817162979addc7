"""What a calibration has to pass before it may give a number: each refusal has a flag and a sentence with figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from myotome.biomarkers.bone_density.energy import interpolate_tissue
from myotome.biomarkers.bone_density.references import References
from myotome.biomarkers.bone_density.settings import BoneDensitySettings

__all__ = ["Refusal", "blood_is_enhanced", "check_references"]

_NAMES = {
    "fat": "subcutaneous fat",
    "muscle": "muscle beside the spine",
    "blood": "blood in the aorta",
    "air": "air around the body",
    "cortical_bone": "cortical bone",
}
_CHECKED_ANYWAY = ("air", "blood", "fat", "muscle")


@dataclass(frozen=True)
class Refusal:
    """Why no number is given: a flag, and a sentence for people."""

    flag: str
    sentence: str


def check_references(
    references: References, needed: Iterable[str], settings: BoneDensitySettings
) -> tuple[Refusal, ...]:
    """Everything that stands against a calibration by some references.

    Each tissue that is needed must be there, large enough, and within its plausible HU; fat, muscle, blood and air must
    be plausible also where the method does not use them, since they tell of a wrong rescale. Contrast agent is refused
    where ``settings.contrast`` says so, and blood with it is never a reference. Metal in the slices, a distance between
    fat and muscle that no tissue has, and a scale by air and blood that no scanner has are refused.

    Parameters
    ----------
    needed : names of tissues that the method uses

    Returns
    -------
    tuple of Refusal
        Empty when the calibration may be made.
    """
    needed = tuple(needed)
    enhanced = references.contrast_recorded or blood_is_enhanced(references, settings)
    found = [
        *_contrast(references, enhanced, needed, settings),
        *_tissues(references, needed, settings, enhanced),
        *_scale(references, settings, enhanced),
    ]
    if references.metal:
        found.insert(0, Refusal("metal_near", "Metal lies in the slices of the bone: its streaks falsify HU there."))
    return tuple(found)


def blood_is_enhanced(references: References, settings: BoneDensitySettings) -> bool:
    """True when blood is denser than any without contrast agent, or far denser than muscle, which no offset changes."""
    blood, muscle = (references.tissues.get(name) for name in ("blood", "muscle"))
    tissue = settings.references.tissues["blood"]
    if blood is None or blood.voxels < tissue.fewest_voxels:
        return False
    if blood.hu > tissue.plausible_hu[1]:
        return True
    enough = muscle is not None and muscle.voxels >= settings.references.tissues["muscle"].fewest_voxels
    return enough and blood.hu - muscle.hu > settings.references.blood_over_muscle_hu


def _contrast(
    references: References, enhanced: bool, needed: tuple[str, ...], settings: BoneDensitySettings
) -> Iterator[Refusal]:
    if not enhanced or (settings.contrast == "flag" and "blood" not in needed):
        return
    if references.contrast_recorded:
        yield Refusal("contrast_suspected", "The header names a contrast agent, which raises the HU of blood and bone.")
        return
    blood, muscle = references.tissues["blood"].hu, references.tissues.get("muscle")
    beside = "" if muscle is None else f", muscle {muscle.hu:.0f} HU"
    sentence = f"Blood in the aorta has {blood:.0f} HU{beside}: contrast agent raises the HU of blood and bone."
    yield Refusal("contrast_suspected", sentence)


def _tissues(
    references: References, needed: tuple[str, ...], settings: BoneDensitySettings, enhanced: bool
) -> Iterator[Refusal]:
    for name, tissue in settings.references.tissues.items():
        found = references.tissues.get(name)
        title = _NAMES.get(name, name.replace("_", " "))
        if found is None or found.voxels < tissue.fewest_voxels:
            if name in needed:
                count = 0 if found is None else found.voxels
                flag = f"{name}_missing" if count == 0 else f"{name}_too_small"
                yield Refusal(flag, f"Of {title} there are {count} voxels, and {tissue.fewest_voxels} are needed.")
            continue
        if name == "blood" and enhanced:
            continue
        low, high = tissue.plausible_hu
        if (name in needed or name in _CHECKED_ANYWAY) and not low <= found.hu <= high:
            sentence = f"{title.capitalize()} has {found.hu:.0f} HU, and {low:g} to {high:g} are plausible."
            yield Refusal(f"{name}_implausible", sentence)


def _scale(references: References, settings: BoneDensitySettings, enhanced: bool) -> Iterator[Refusal]:
    """What the distances between tissues say of the scanner's scale; they do not change with its offset."""
    limits, tissues = settings.references, settings.references.tissues
    energy, _ = settings.energy.at(references.tube_voltage_kv, references.water_diameter_cm)
    pairs = [("fat", "muscle", limits.fat_to_muscle)]
    if not enhanced:
        pairs.append(("air", "blood", limits.scale_slope))
    for low, high, (least, most) in pairs:
        both = [references.tissues.get(name) for name in (low, high)]
        fewest = [tissues[name].fewest_voxels for name in (low, high)]
        if any(one is None or one.voxels < least_voxels for one, least_voxels in zip(both, fewest, strict=True)):
            continue
        expected = interpolate_tissue(tissues[high], energy) - interpolate_tissue(tissues[low], energy)
        share = (both[1].hu - both[0].hu) / expected
        if not least <= share <= most:
            sentence = f"{_NAMES[high].capitalize()} lies {both[1].hu - both[0].hu:.0f} HU above {_NAMES[low]}"
            yield Refusal(
                "slope_impossible", f"{sentence}, and about {expected:.0f} are expected: is the rescale right?"
            )
