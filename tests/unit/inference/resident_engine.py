"""An engine that keeps everything on its device until it is a label, where there is no other device than the CPU."""

from __future__ import annotations

from myotome.inference.engines.pytorch import EagerEngine

__all__ = ["ResidentEngine"]


class ResidentEngine(EagerEngine):
    """PyTorch eager that says that the CPU is another device."""

    resident = True
