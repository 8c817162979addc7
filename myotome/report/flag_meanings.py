"""What each flag means, in a sentence for the person who reads the report."""

from __future__ import annotations

__all__ = ["describe_flag"]

_MEANINGS = {
    "absent": "The structure is not in the image on this side, so nothing is measured.",
    "no_muscle_range_voxels": "The contour holds no voxel of -29 to 150 HU, so its muscle density cannot be given.",
    "cut_first_slice": "The structure runs into the first slice: part was not scanned, and its volume is too low.",
    "cut_last_slice": "The structure runs into the last slice: part was not scanned, and its volume is too low.",
    "padding_in_contour": "Part of the contour lies where the scanner measured nothing; that part is not counted.",
    "thick_slices": "Slices are more than 5 mm thick or apart: volumes are coarser, and fat and muscle mix in voxels.",
    "contrast_suspected": "Contrast agent is recorded or suspected: it raises muscle density by several HU, so compare "
    "density only with scans of the same phase.",
    "metal": "Metal is in the image: its streaks can falsify density nearby.",
    "no_muscle_found": "No muscle was found in this image, so nothing is measured.",
    "missing_slices": "Slices are missing from the series: volumes are not reliable.",
    "gap_between_slices": "There are gaps between the slices: volumes are interpolated across them.",
    "instance_numbers_skip": "The series' image numbers skip: slices may be missing at an end.",
    "lossy_compression": "The image was compressed with loss: density may be slightly off.",
    "no_value_below_zero": "The image has no value below 0: its numbers are perhaps not Hounsfield units.",
    "no_supraspinatus_found": "No supraspinatus was found in this image, so nothing is measured or graded.",
    "several_slices_labelled": "Several slices are labelled: the one with the largest cut of the muscle was measured.",
    "retraction_suspected": "The muscle fills less than 40 % of its fossa: in a retracted tear the Y-view shows "
    "another part of the muscle, and area, occupation ratio and grade can mislead.",
    "not_oblique_sagittal": "The slices are turned over 45 degrees from sagittal: what they show is perhaps no Y-view.",
    "wrong_sequence": "Fat is suppressed in this sequence, so fat in the muscle is dark: grades and fat fractions need "
    "a T1- or T2-weighted series without fat suppression.",
    "poor_signal": "The muscle's signal is below five times the noise: fat streaks can be lost in it.",
    "eight_bit": "The image holds 256 grey levels at most, as exports for the screen do: give the original values.",
    "truncated": "The structure is cut off by the image's border: part of it was not imaged, and its area is too low.",
    "fat_not_bright": "What should be fat is no brighter than muscle, as in a sequence with fat suppression: its share "
    "cannot be seen.",
    "no_contrast": "Muscle and fat around it could not be told apart, so there is no fat fraction.",
    "too_small": "The muscle's contour holds fewer than 50 pixels, too few for a fat fraction.",
    "fossa_absent": "The rest of the fossa is not labelled, so there is no occupation ratio.",
    "scapular_spine_absent": "The scapular spine is not labelled, so there is no tangent.",
    "coracoid_process_absent": "The coracoid process is not labelled, so there is no tangent.",
    "no_common_tangent": "One bone lies beneath the other, so no line touches both from above.",
    "within_a_voxel": "The muscle ends within a voxel of the tangent: its sign is undecided.",
    "fat_suppressed": "Fat is suppressed in this sequence, so its share cannot be seen.",
    "height_unknown": "The person's height is not known, so no index by height is given: give it in metres.",
    "body_truncated": "The body leaves the field of view: fat, and perhaps muscle, is cut off there.",
    "sharp_kernel": "The image was reconstructed with a sharp kernel: its noise moves pixels from one range of HU to "
    "another, so areas of muscle and fat can be off.",
    "tube_voltage_not_120": "The tube voltage was not 120 kV: HU of muscle and fat differ from those of most reference "
    "values.",
    "not_axial": "The slices are tilted over 10 degrees from axial: areas in them are too large.",
    "many_slices_labelled": "More than three slices are labelled: the values are the mean of all of them.",
    "level_given": "A person or the label map said which slice is L3, so there is no confidence.",
    "level_unsure": "The level was found with a confidence below 0.8: look at the scout before using the values.",
    "vertebra_not_named": "A vertebral body was found whose name is not sure enough: it is not labelled, and the "
    "notes say where it is.",
    "level_not_labelled": "Another slice than that of L3 is labelled, and that one was measured.",
    "no_disc_found": "No lumbar disc was found in this image, so nothing is measured.",
    "level_unknown": "The lumbosacral disc was not found for sure, so the discs have no names: they are counted from "
    "below, and the lowest need not be L5-S1.",
    "csf_not_found": "No bright column of cerebrospinal fluid was found behind the disc, so its signal has nothing to "
    "be compared with.",
    "not_t2_weighted": "The image is not T2-weighted: fluid is not bright in it, so no signal relative to it is given.",
    "coarse_across_slices": "Slices lie over 2 mm apart: what is measured across them is no finer than that.",
    "several_cuts": "Discs are labelled in several axial slices: each cut has its own values, and the case has none.",
    "several_parts": "The label has several parts in the slice that was measured: the largest was measured.",
    "height_implausible": "The height in the header is not plausible, so no index by height is given.",
    "no_vertebra_found": "No vertebral body was found in this image, so no bone is measured.",
    "no_whole_vertebra": "No vertebral body lies whole in the field of view, so no bone is measured.",
    "levels_unsure": "The vertebral bodies do not follow each other as their names do, so the names are not sure: no "
    "mean is given, and nothing is read against cut-offs.",
    "fractured": "The body has lost more than 20 % of its height: fractured bone looks denser, so it is excluded.",
    "heights_coarse": "Slices lie more than 3 mm apart, so that a small fracture cannot be told from a whole body.",
    "region_too_small": "What is left of the body without cortex, endplates and vein is too small to be measured.",
    "bone_implausible": "The region's HU are not those of trabecular bone: cement, metal or a wrong label.",
    "metal_near": "Metal lies in the slices of bone that is measured: its streaks falsify HU there, so there is no "
    "density.",
    "slope_impossible": "The distances in HU between reference tissues are no scanner's: the rescale, or a label, is "
    "wrong, so there is no density.",
    "references_disagree": "One reference tissue does not fit the line through the others, so there is no density.",
    "energy_not_found": "The reference tissues do not tell the effective energy of the scan, so there is no density.",
    "calibration_refused": "The person's own tissues could not calibrate the scan: the table says what stood against "
    "it.",
    "contrast_not_checked": "The aorta is not labelled, so contrast agent was looked for in the header only.",
    "bias_not_corrected": "The calibration has not been fitted to quantitative CT: densities follow from the physics "
    "of the tissues alone, and may be off by some mg/cm³ throughout.",
    "tube_voltage_unknown": "The tube voltage is not recorded: a customary one is assumed, and the interval is wider.",
    "one_level_only": "The mean stands for one vertebral body, where quantitative CT takes two.",
    "thoracic_levels": "No lumbar body could be measured, so the mean is of thoracic ones, which are denser.",
    "class_withheld_thoracic": "Cut-offs hold for lumbar bodies; without an offset that a site has configured, "
    "thoracic ones are not read against them.",
    "class_by_thoracic_offset": "The class is of thoracic bodies, by an offset that was configured with its source.",
    "near_cutoff": "The interval holds a cut-off: the class may be the neighbouring one.",
    "no_youden_cutoff": "No cut-off of a training is configured.",
    "methods_differ": "The two calibrations differ by more than 20 mg/cm³: look at the references.",
    "phantom_not_found": "No rods of a calibration phantom were found under the back.",
}
_TISSUES = {
    "fat": "subcutaneous fat",
    "muscle": "the muscle beside the spine",
    "blood": "the blood in the aorta",
    "air": "the air around the body",
    "cortical_bone": "cortical bone",
}
for _key, _tissue in _TISSUES.items():
    _MEANINGS |= {
        f"{_key}_missing": f"There is no voxel of {_tissue} in these slices once its border is taken off.",
        f"{_key}_too_small": f"There are too few voxels of {_tissue} in these slices to calibrate by.",
        f"{_key}_implausible": f"The HU of {_tissue} are not plausible: a wrong rescale, a wrong label or an artefact.",
    }
_TRUNCATED = (
    "The structure is cut off by the field of view {side}: part of it was not imaged, and its volume is too low."
)
_SIDES = {
    "right": "on the patient's right",
    "left": "on the patient's left",
    "anterior": "in front",
    "posterior": "behind",
}
_PREFIXES = {
    "series_chosen": "The input holds several series; this one was measured: {text}.",
    "series_left_out": "This series of the input was not measured: {text}.",
    "levels_used": "The mean density is of these vertebral bodies: {text}.",
    "levels_fractured": "Excluded, because they have lost more than 20 % of their height: {text}.",
}


def describe_flag(flag: str) -> str:
    """Sentence that says what a flag means; an unknown flag is given as its own words."""
    name, _, text = flag.partition(":")
    if name in _PREFIXES and text:
        return _PREFIXES[name].format(text=text.strip())
    if name.startswith("truncated_") and name.removeprefix("truncated_") in _SIDES:
        return _TRUNCATED.format(side=_SIDES[name.removeprefix("truncated_")])
    if flag in _MEANINGS:
        return _MEANINGS[flag]
    words = flag.replace("_", " ").strip()
    return f"{words[:1].upper()}{words[1:]}."
