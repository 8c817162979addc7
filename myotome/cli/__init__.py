"""The command line: ``myotome analyze``, ``measure``, ``phantom`` and ``info``."""

from myotome.cli.app import main

__all__ = ["main"]
