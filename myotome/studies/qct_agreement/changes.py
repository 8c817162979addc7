"""Changes to an acquisition, as a configuration writes them: ``{noise_hu: {times: 1.6}, hu_offset: {plus: -15}}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from myotome.errors import InputError
from myotome.phantoms.bone import BoneScan

__all__ = ["Changes", "change_scan", "check_changes"]

Changes = Mapping[str, Mapping[str, Any]]
"""Field of `BoneScan` to one kind of change and its value."""

_KINDS: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda old, value: value,
    "times": lambda old, value: old * value,
    "plus": lambda old, value: (
        tuple(a + b for a, b in zip(old, value, strict=True)) if isinstance(old, tuple) else old + value
    ),
    "at_least": max,
    "at_most": min,
}


def check_changes(changes: Changes, where: str) -> None:
    """Refuse changes that no acquisition can take.

    Raises
    ------
    InputError
        When a field or a kind of change is not known, or a field has not exactly one change.
    """
    known = {one.name for one in fields(BoneScan)}
    for name, change in changes.items():
        if name not in known:
            raise InputError(f"{where} changes '{name}', which no scan has: it has {', '.join(sorted(known))}.")
        if not isinstance(change, Mapping) or len(change) != 1 or set(change) - set(_KINDS):
            raise InputError(f"{where} changes '{name}' by {change!r}: give one of {', '.join(_KINDS)} and its value.")


def change_scan(scan: BoneScan, changes: Changes) -> BoneScan:
    """An acquisition with some of its fields changed.

    Raises
    ------
    InputError
        When the changed acquisition is not possible.
    """
    new = {}
    for name, change in changes.items():
        (kind, value), old = next(iter(change.items())), getattr(scan, name)
        try:
            new[name] = _KINDS[kind](old, tuple(value) if isinstance(value, list) else value)
        except (TypeError, ValueError) as error:
            raise InputError(f"'{name}' is {old!r}, which '{kind}: {value}' cannot change ({error}).") from error
    return replace(scan, **new)
