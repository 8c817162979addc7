"""The one way through the house, for every kind of case: read, segment, grade, measure, write.

A new kind of case is one module here with its `CaseKind`, and its line in ``KINDS``.
"""

from myotome.pipeline.case import AnalysisRequest, analyze, in_axis_order, measure_label_map
from myotome.pipeline.kind import CaseKind, Subject
from myotome.pipeline.kinds import KINDS, kind_of
from myotome.pipeline.outputs import OUTPUT_NAMES, require_writable, write_case

__all__ = [
    "KINDS",
    "OUTPUT_NAMES",
    "AnalysisRequest",
    "CaseKind",
    "Subject",
    "analyze",
    "in_axis_order",
    "kind_of",
    "measure_label_map",
    "require_writable",
    "write_case",
]
