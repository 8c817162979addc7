"""What is true of a drawn section of L3: areas and densities, as drawn and as a perfect reader measures them."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.abdomen.drawing import Section

__all__ = ["measure_drawing", "measure_labels"]

_MUSCLE_HU, _LOW_HU, _FAT_HU = (-29, 150), (-29, 29), (-190, -30)


def measure_drawing(
    section: Section | None, pixel_mm: float, within: np.ndarray | float = 1.0
) -> dict[str, float | None]:
    """Areas (cm2) and density (HU) of the tissue as drawn: a pixel counts by its share, at the tissue's own density.

    ``sma_tissue_cm2`` is the area of -29..150 HU inside the muscles' contour, ``imat_tissue_cm2`` that of -190..-30 HU.
    A missing section gives the names alone.
    """
    names = ("sma_tissue_cm2", "smd_tissue_hu", "imat_tissue_cm2", "sat_tissue_cm2", "vat_tissue_cm2")
    if section is None:
        return dict.fromkeys(names + tuple(_NAMES))
    area = pixel_mm**2 / 100
    inside = (section.shares[0] + section.shares[3]).astype(np.float64) * within
    lean = inside * _between(section.flesh, _MUSCLE_HU)
    fat = inside * _between(section.flesh, _FAT_HU)
    total = float(lean.sum())
    density = float((lean * section.flesh).sum() / total) if total > 0 else None
    others = [float((section.shares[k] * within).sum(dtype=np.float64)) * area for k in (1, 2)]
    return dict(zip(names, (total * area, density, float(fat.sum()) * area, *others), strict=True))


_NAMES = ("sma_cm2", "smd_hu", "nama_cm2", "lama_cm2", "imat_cm2", "sat_cm2", "vat_cm2")


def measure_labels(labels: np.ndarray, hu: np.ndarray, pixel_mm: float) -> dict[str, float | None]:
    """What the true label map (X, Y) gives on the image without noise (X, Y), in HU rounded as an image is.

    SMA, SMD and IMAT are of the muscles' contour (labels 1 and 4): -29..150 HU, its mean, and -190..-30 HU; NAMA is
    30..150, LAMA -29..29 HU. SAT and VAT are the areas of their labels.
    """
    area, flesh = pixel_mm**2 / 100, np.rint(hu[(labels == 1) | (labels == 4)])
    lean = flesh[_between(flesh, _MUSCLE_HU)]
    low = int(_between(flesh, _LOW_HU).sum())
    values = (
        lean.size * area,
        float(lean.mean()) if lean.size else None,
        (lean.size - low) * area,
        low * area,
        int(_between(flesh, _FAT_HU).sum()) * area,
        int((labels == 2).sum()) * area,
        int((labels == 3).sum()) * area,
    )
    return dict(zip(_NAMES, values, strict=True))


def _between(hu: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    rounded = np.rint(hu)
    return (rounded >= limits[0]) & (rounded <= limits[1])
