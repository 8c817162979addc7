"""The weights in the bundle do what they were trained for, and do it the same way twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from myotome.geometry import Volume
from myotome.inference import BundleSegmenter
from myotome.metrics.segmentation import score_label_map
from myotome.phantoms.thorax import Scan, make_thorax
from myotome.resources import bundle_root

ROOT = bundle_root("respiratory_muscle_ct_segmentation")
SEED = 950000  # neither trained on (100000 ...) nor in the evaluation (900000 ...)

pytestmark = pytest.mark.skipif(not (ROOT / "models" / "model.pt").is_file(), reason="the bundle has no weights here")


@pytest.fixture(scope="module")
def segmenter():
    return BundleSegmenter(ROOT)


@pytest.fixture(scope="module")
def case():
    """A plain acquisition, 5 mm slices of the middle of the chest."""
    return make_thorax(SEED, Scan(bottom=0.45, top=0.65))


@pytest.fixture(scope="module")
def prediction(segmenter, case):
    return segmenter.segment(case.volume)


def test_the_muscles_of_a_phantom_are_found(case, prediction):
    """Far below the bars of docs/results.md, and far above what wrong or untrained weights give."""
    scores = score_label_map(case.label_map, prediction, tolerance_mm=None)
    dice = {score.structure: score.value for score in scores if score.score == "dice"}
    assert dice["muscle_tissue"] > 0.85
    assert dice["erector_spinae"] > 0.80
    assert dice["pectoralis"] > 0.75
    assert dice["intercostal"] > 0.60


def test_the_third_stage_names_a_given_mask(segmenter, case):
    mask = case.label_map
    named = segmenter.classify(case.volume, mask)
    respiratory = (mask.array > 0) & (mask.array < 4)
    assert np.array_equal((named.array > 0) & (named.array < 4), respiratory)
    assert np.mean(named.array[respiratory] == mask.array[respiratory]) > 0.95


def test_the_same_image_gives_the_same_labels_twice(segmenter, case, prediction):
    again = segmenter.segment(case.volume)
    assert again.array.tobytes() == prediction.array.tobytes()


def test_an_empty_room_holds_no_muscle(segmenter, case):
    """Air and a table: nothing is invented."""
    air = np.full(case.volume.grid.shape, -1000, dtype=np.int16)
    air[:, 40:44] = -150
    found = segmenter.segment(Volume(air, case.volume.grid))
    assert np.count_nonzero(found.array) < 0.001 * found.array.size


def test_the_file_is_the_one_the_metadata_names(segmenter):
    metadata = json.loads((Path(ROOT) / "configs" / "metadata.json").read_text())
    assert metadata["weights_sha256"]["models/model.pt"] == segmenter.weights_sha256
    assert (Path(ROOT) / "models" / "model.pt").stat().st_size < 25e6
