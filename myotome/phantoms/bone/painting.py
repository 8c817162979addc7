"""The brush of the abdomen's phantoms, which also keeps what each pixel is of bone, back muscle, blood and air."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.abdomen.painting import SUBCUTANEOUS, Fatness, Painting
from myotome.phantoms.canvas import Box
from myotome.structures import LabelSchema

__all__ = ["BonePainting"]

# Channels of `Painting.shares` beyond those of the abdomen's labels.
_BODY, _CORTICAL, _ERECTOR, _AORTA, _AIR = range(4, 9)
_BY_TISSUE = {"cortex": _CORTICAL, "aorta": _AORTA}


class BonePainting(Painting):
    """One section in the making, with a share of each pixel for every structure of the schema ``bone_density_ct``.

    Attributes
    ----------
    level : (X, Y) label of the vertebral body in each pixel that holds one; 0 for bodies that carry no label.
    """

    channels = 9

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.shares[_AIR] = 1
        self.level = np.zeros(self.canvas.shape, dtype=np.uint8)

    def lay(self, box: Box, cover: np.ndarray, tissue: str | float | np.ndarray, label: int = 0) -> None:
        """Cover what is there; compact bone and the aorta's blood are kept apart by their tissue."""
        super().lay(box, cover, tissue, label)
        if isinstance(tissue, str) and tissue in _BY_TISSUE:
            self.shares[(_BY_TISSUE[tissue], *box)] += cover

    def back_muscle(self, name: str, box: Box, cover: np.ndarray, fatness: Fatness, bias: np.ndarray | float) -> None:
        """Lay one of the back's muscles; the erector spinae is kept apart."""
        super().back_muscle(name, box, cover, fatness, bias)
        if name == "erector_spinae":
            self.shares[(_ERECTOR, *box)] += cover

    def body(self, box: Box, cover: np.ndarray, hu: np.ndarray, label: int) -> None:
        """Lay a vertebral body of Hounsfield units (X, Y of the box) under its label."""
        self.lay(box, cover, hu)
        self.shares[(_BODY, *box)] += cover
        part = self.level[box]
        part[cover > 0.5 * self.shares[(_BODY, *box)]] = label

    def label_map(self, schema: LabelSchema, occupied: np.ndarray) -> np.ndarray:
        """Label (X, Y) of the structure that holds most of each pixel, 0 where that is none of the schema's.

        Parameters
        ----------
        schema : ``bone_density_ct``.
        occupied : (X, Y) True where something else than the person lies, such as the table: no air.
        """
        channels = (_BODY, _CORTICAL, SUBCUTANEOUS - 1, _ERECTOR, _AORTA, _AIR)
        shares = self.shares[list(channels)]
        rest = 1 - shares.sum(axis=0)
        best = np.concatenate((rest[None], shares)).argmax(axis=0)
        names = ("cortical_bone", "subcutaneous_fat", "erector_spinae", "aorta", "air")
        numbers = np.array([0, 0, *(schema[name].index for name in names)], dtype=np.uint8)
        labels = numbers[best]
        labels[(best == 6) & occupied] = 0
        return np.where(best == 1, self.level, labels)
