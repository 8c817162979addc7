"""How well two label maps agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["compare_label_maps"]


def compare_label_maps(found: Path, reference: Path) -> dict[str, Any]:
    """Agreement of two NIfTI label maps on one grid.

    Returns
    -------
    dict : ``dice`` per class that either has (background left out); ``pooled``, the Dice of all those classes together,
        ``2 sum |A & B| / sum (|A| + |B|)``; ``equal``, the share of all voxels with the same label
    """
    import nibabel

    images = [nibabel.load(path) for path in (found, reference)]
    if images[0].shape != images[1].shape or not np.allclose(images[0].affine, images[1].affine, atol=1e-3):
        raise ValueError(f"{found.name} and {reference.name} are not on one grid")
    first, second = (np.asarray(image.dataobj).astype(np.uint8) for image in images)
    table = np.bincount(first.ravel().astype(np.uint16) * 256 + second.ravel(), minlength=65536).reshape(256, 256)
    both, sizes = np.diag(table), table.sum(axis=0) + table.sum(axis=1)
    present = [label for label in range(1, 256) if sizes[label]]
    pooled = 2 * both[1:].sum() / sizes[1:].sum() if present else 1.0
    return {
        "dice": {str(label): round(float(2 * both[label] / sizes[label]), 6) for label in present},
        "pooled": round(float(pooled), 6),
        "equal": round(float(both.sum() / table.sum()), 6),
    }
