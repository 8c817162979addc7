"""The one way through the house, for every kind of case: read, segment, grade, measure, write.

A new kind of case is one module here with its `CaseKind`, and its line in ``KINDS``.
"""

from myotome.pipeline.axes import in_axis_order
from myotome.pipeline.case import AnalysisRequest, CaseDetails, analyze, measure_label_map
from myotome.pipeline.kind import CaseKind, Findings, Subject
from myotome.pipeline.kinds import KINDS, kind_of
from myotome.pipeline.level import LevelChoice, LevelSegmenter, keep_chosen_level, keep_level
from myotome.pipeline.outputs import OUTPUT_NAMES, require_writable, write_case

__all__ = [
    "KINDS",
    "OUTPUT_NAMES",
    "AnalysisRequest",
    "CaseDetails",
    "CaseKind",
    "Findings",
    "LevelChoice",
    "LevelSegmenter",
    "Subject",
    "analyze",
    "in_axis_order",
    "keep_chosen_level",
    "keep_level",
    "kind_of",
    "measure_label_map",
    "require_writable",
    "write_case",
]
