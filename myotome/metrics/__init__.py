"""Agreement between a reference and a prediction. Distances are in mm on the original grid."""

from myotome.metrics.overlap import compute_dice, compute_f1, compute_generalized_dice
from myotome.metrics.segmentation import Score, score_label_map
from myotome.metrics.surface import (
    SurfaceDistances,
    compute_assd,
    compute_hausdorff,
    compute_nsd,
    compute_rms_dta,
    compute_surface_distances,
)

__all__ = [
    "Score",
    "SurfaceDistances",
    "compute_assd",
    "compute_dice",
    "compute_f1",
    "compute_generalized_dice",
    "compute_hausdorff",
    "compute_nsd",
    "compute_rms_dta",
    "compute_surface_distances",
    "score_label_map",
]
