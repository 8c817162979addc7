"""A person's height, as indices need it."""

from __future__ import annotations

from myotome.errors import InputError

__all__ = ["is_plausible_height", "require_height_m"]

_RANGE_M = (0.4, 2.6)


def is_plausible_height(height_m: float) -> bool:
    """True for 0.4 to 2.6 m."""
    return _RANGE_M[0] <= height_m <= _RANGE_M[1]


def require_height_m(height_m: float | None) -> None:
    """Refuse a height that is not a person's in metres; ``None`` is unknown, and fine.

    Raises
    ------
    InputError
        When it is not 0.4 to 2.6 m; the sentence says what it would be if it was meant in centimetres.
    """
    if height_m is None or is_plausible_height(height_m):
        return
    meant = f", {height_m / 100:g} if {height_m:g} are centimetres" if is_plausible_height(height_m / 100) else ""
    raise InputError(f"a height of {height_m:g} m is not plausible: give it in metres{meant or ', such as 1.72'}.")
