"""Agreement between a reference and a prediction. Distances are in mm on the original grid."""

from myotome.metrics.instances import (
    DetectionTable,
    Matching,
    ObjectSet,
    match_objects,
    tabulate_detections,
    weigh_average_precision,
)
from myotome.metrics.overlap import (
    compute_dice,
    compute_f1,
    compute_generalized_dice,
    compute_precision,
    compute_recall,
)
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
    "DetectionTable",
    "Matching",
    "ObjectSet",
    "Score",
    "SurfaceDistances",
    "compute_assd",
    "compute_dice",
    "compute_f1",
    "compute_generalized_dice",
    "compute_hausdorff",
    "compute_nsd",
    "compute_precision",
    "compute_recall",
    "compute_rms_dta",
    "compute_surface_distances",
    "match_objects",
    "score_label_map",
    "tabulate_detections",
    "weigh_average_precision",
]
