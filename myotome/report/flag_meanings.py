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
    "height_implausible": "The height in the header is not plausible, so no index by height is given.",
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
