"""Engines: ways to run one network, each checked against PyTorch eager before it is used."""

from myotome.inference.engines.agreement import Agreement, compare_label_maps
from myotome.inference.engines.base import PRECISIONS, Engine, EngineError, artefact_folder, fingerprint
from myotome.inference.engines.choice import ENGINES, open_engine, rank_engines, require_engine

__all__ = [
    "ENGINES",
    "PRECISIONS",
    "Agreement",
    "Engine",
    "EngineError",
    "artefact_folder",
    "compare_label_maps",
    "fingerprint",
    "open_engine",
    "rank_engines",
    "require_engine",
]
