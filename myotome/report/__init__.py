"""What a person looks at: a picture of the label map on the image, and a page with every figure and flag."""

from myotome.report.html import write_report
from myotome.report.overview import write_overview

__all__ = ["write_overview", "write_report"]
