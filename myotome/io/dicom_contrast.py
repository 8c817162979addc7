"""What a header's words say of an MR image's contrast and of the part of the body."""

from __future__ import annotations

import re

__all__ = ["is_fat_suppressed", "read_body_part", "read_weighting"]

_SUPPRESSED = re.compile(
    r"(?<![a-z])(fs|fatsat|fat[ _-]?sat\w*|fat[ _-]?sup\w*|spair|spir|stir|tirm|we|water|chess|dixon[ _-]?w)(?![a-z])"
)
_OUT_OF_PHASE = re.compile(r"(?<![a-z])(opp|out)(?![a-z])")
_WEIGHTINGS = {"T1": r"t1w?", "T2": r"t2w?", "PD": r"(?:pdw?|dp)"}
_AFTER_WORD = r"(?![a-z0-9])"
_SHORT_ECHO_MS, _LONG_ECHO_MS = 30.0, 60.0
_SHORT_REPETITION_MS, _LONG_REPETITION_MS = 1200.0, 1500.0
# What DICOM calls parts of the body (PS3.16 annex L), and what scanners call them instead.
_BODY_PARTS = {
    "SHOULDER": ("SHOULDER", "SHLD", "SCHULTER"),
    "KNEE": ("KNEE", "KNIE"),
    "HIP": ("HIP",),
    "ANKLE": ("ANKLE",),
    "FOOT": ("FOOT",),
    "WRIST": ("WRIST",),
    "HAND": ("HAND",),
    "ELBOW": ("ELBOW",),
    "HEAD": ("HEAD", "BRAIN", "SKULL"),
    "NECK": ("NECK",),
    "CHEST": ("CHEST", "THORAX"),
    "BREAST": ("BREAST",),
    "ABDOMEN": ("ABDOMEN", "LIVER"),
    "PELVIS": ("PELVIS", "PROSTATE"),
    "CSPINE": ("CSPINE",),
    "TSPINE": ("TSPINE",),
    "LSPINE": ("LSPINE",),
    "LEG": ("LEG", "THIGH", "CALF"),
}


def is_fat_suppressed(words: str) -> bool:
    """True when a series' words (description, sequence name, options) say that fat, or all but water, is dark.

    Examples: ``T2 FS``, ``pd_tse_fs_sag``, ``STIR``, ``SPAIR``, ``T2 fat sat``.
    """
    return bool(_SUPPRESSED.search(words.casefold().replace("_", " ")))


def read_weighting(words: str, echo_time_ms: float | None, repetition_time_ms: float | None) -> str | None:
    """``T1``, ``T2`` or ``PD`` of a spin echo, from its words or else from its times; ``None`` when neither tells.

    Times: an echo of 60 ms and more is T2; one below 30 ms is T1 when it repeats within 1.2 s, and PD from 1.5 s on.
    """
    text = words.casefold().replace("_", " ")
    if _OUT_OF_PHASE.search(text):
        return None
    found = [
        name for name, spelling in _WEIGHTINGS.items() if re.search(rf"(?<![a-z0-9]){spelling}{_AFTER_WORD}", text)
    ]
    if len(found) == 1:
        return found[0]
    if not echo_time_ms or not repetition_time_ms:
        return None
    if echo_time_ms >= _LONG_ECHO_MS:
        return "T2"
    if echo_time_ms < _SHORT_ECHO_MS and repetition_time_ms <= _SHORT_REPETITION_MS:
        return "T1"
    return "PD" if echo_time_ms < _SHORT_ECHO_MS and repetition_time_ms >= _LONG_REPETITION_MS else None


def read_body_part(words: str) -> str | None:
    """The DICOM word for a part of the body that a header's words name; ``None`` for none or several of them."""
    text = words.upper()
    found = [part for part, spellings in _BODY_PARTS.items() if any(spelling in text for spelling in spellings)]
    return found[0] if len(found) == 1 else None
