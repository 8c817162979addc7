"""Errors a person can act on: each says what is wrong, where, and how to mend it, in one sentence."""

from __future__ import annotations

__all__ = ["BundleError", "GeometryError", "InputError", "MyotomeError", "OutputError"]


class MyotomeError(Exception):
    """Base of every refusal; ``exit_code`` is what the command line exits with."""

    exit_code = 1


class InputError(MyotomeError):
    """The input cannot be measured: unreadable, of the wrong kind, or ambiguous."""

    exit_code = 3


class GeometryError(InputError):
    """The voxels do not form one regular, unsheared grid in patient space."""


class BundleError(MyotomeError):
    """A bundle, its configuration or its weights are missing or do not belong together."""

    exit_code = 4


class OutputError(MyotomeError):
    """A result could not be written; nothing half-written is left behind."""

    exit_code = 5
