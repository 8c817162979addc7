"""Quality control of a cohort: scores, the page on which readers decide, and their decisions."""

from myotome.cohort.quality_decisions import Imported, import_decisions, list_decided
from myotome.cohort.quality_page import write_quality_page
from myotome.cohort.quality_scores import Scores, score_cohort

__all__ = ["Imported", "Scores", "import_decisions", "list_decided", "score_cohort", "write_quality_page"]
