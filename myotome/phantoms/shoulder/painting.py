"""The brush of the shoulder's sections, with the labels of its schema."""

from __future__ import annotations

from myotome.phantoms.mr_painting import MrPainting

__all__ = ["Painting"]


class Painting(MrPainting):
    """One section in the making; its depth is the distance from the Y-view towards the arm."""

    # In the order of the schema supraspinatus_mri.
    names = ("supraspinatus", "supraspinous_fossa", "scapular_spine", "coracoid_process")

    @property
    def lateral_mm(self) -> float:
        """Distance from the Y-view towards the arm."""
        return self.depth_mm

    def copy(self, lateral_mm: float) -> Painting:
        """What is painted so far, without labels, to be continued at a section close by."""
        other = Painting(self.canvas, self.signals, self._texture, lateral_mm)
        other.water, other.fat = self.water.copy(), self.fat.copy()
        return other
