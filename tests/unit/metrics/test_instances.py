"""Objects matched, counted and ranked: every figure worked by hand, and average precision against pycocotools' own."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.metrics import Matching, ObjectSet, match_objects, tabulate_detections, weigh_average_precision
from myotome.metrics.instances import COCO_THRESHOLDS

SHAPE = (20, 40)


def box(left, right, top=0, bottom=10):
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


# Beside a reference of columns 0-10, IoU 8/10, 6/10 and 4/10.
DISC, EIGHT, SIX, FOUR = box(0, 10), box(0, 8), box(0, 6), box(0, 4)
OTHER, FAR = box(20, 30), box(34, 38)
NOTHING = ObjectSet(())


def test_panoptic_quality_by_hand():
    """Two of three are found with IoU 0.8 and 1, one is missed, one invented: SQ 0.9, RQ 2/3, PQ 0.6."""
    reference = ObjectSet((DISC, OTHER, box(0, 10, 12, 18)))
    matching = match_objects(reference, ObjectSet((FAR, EIGHT, OTHER)))
    assert sorted(matching.overlaps) == pytest.approx([0.8, 1.0])
    assert (matching.found, matching.missed, matching.invented) == (2, 1, 1)
    assert matching.precision == pytest.approx(2 / 3) and matching.recall == pytest.approx(2 / 3)
    assert matching.segmentation_quality == pytest.approx(0.9)
    assert matching.recognition_quality == pytest.approx(2 / (2 + 0.5 + 0.5))
    assert matching.panoptic_quality == pytest.approx(0.9 * 2 / 3)


@pytest.mark.parametrize(("threshold", "found"), [(0.4, 1), (0.41, 0)])
def test_a_pair_at_the_threshold_matches(threshold, found):
    assert match_objects(ObjectSet((DISC,)), ObjectSet((FOUR,)), threshold).found == found


def test_a_reference_is_found_once():
    matching = match_objects(ObjectSet((DISC,)), ObjectSet((SIX, EIGHT)))
    assert matching.overlaps == pytest.approx((0.8,)) and matching.invented == 1


def test_as_many_pairs_as_can_be():
    """The best single pair (0.8) would leave the other two objects alone; 0.4 with 0.4 makes two pairs."""
    first, second = box(0, 10), box(6, 16)
    wide, narrow = box(2, 12), box(0, 4)  # wide: 8/12 with first, 6/14 with second; narrow: 4/10 with first alone
    matching = match_objects(ObjectSet((first, second)), ObjectSet((wide, narrow)), threshold=0.4)
    assert sorted(matching.overlaps) == pytest.approx([0.4, 6 / 14])


def test_objects_of_different_labels_do_not_match():
    reference, prediction = ObjectSet((DISC,), labels=(4,)), ObjectSet((DISC,), labels=(5,))
    assert match_objects(reference, prediction).found == 0
    assert match_objects(reference, ObjectSet((DISC,), labels=(4,))).found == 1


def test_without_objects_nothing_is_defined():
    both = match_objects(NOTHING, NOTHING)
    assert (both.precision, both.recall, both.panoptic_quality) == (None, None, None)
    missed = match_objects(ObjectSet((DISC,)), NOTHING)
    assert (missed.precision, missed.recall, missed.panoptic_quality, missed.segmentation_quality) == (None, 0, 0, None)
    assert match_objects(NOTHING, ObjectSet((DISC,))).precision == 0


def test_images_are_pooled():
    parts = [Matching((0.8,), 1, 0), Matching((), 0, 2), Matching((0.6, 1.0), 0, 0)]
    pooled = Matching.join(parts)
    assert (pooled.found, pooled.missed, pooled.invented) == (3, 1, 2)
    assert pooled.panoptic_quality == pytest.approx(2.4 / (3 + 1.5))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ObjectSet((DISC,), scores=(0.5, 0.6)), "1 objects have 2 scores"),
        (lambda: ObjectSet((DISC,), scores=(float("nan"),)), "missing or infinite"),
        (lambda: ObjectSet((DISC, np.zeros((3, 3), bool))), "different shapes"),
        (lambda: match_objects(ObjectSet((DISC,)), ObjectSet((np.ones((3, 3), bool),))), "not on one grid"),
        (lambda: match_objects(NOTHING, NOTHING, 0), "above 0 and at most 1"),
        (lambda: tabulate_detections([(NOTHING, NOTHING)], [0, 1]), "2 cases stand against 1 images"),
    ],
)
def test_what_cannot_be_compared_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_average_precision_by_hand():
    """Scores .9 right, .8 wrong, .7 right, one of three missed: precision 1 up to recall 1/3, then 2/3 up to 2/3.

    Recalls 0, .01 ... .33 (34 of 101) read 1, recalls .34 ... .66 (33) read 2/3, the other 34 read 0.
    """
    pairs = [
        (ObjectSet((DISC, OTHER)), ObjectSet((DISC, FAR), (0.9, 0.8))),
        (ObjectSet((DISC,)), ObjectSet((DISC,), (0.7,))),
    ]
    table = tabulate_detections(pairs)
    assert table.scores.tolist() == [0.9, 0.8, 0.7]
    assert table.average_precision(0.5) == pytest.approx((34 + 33 * 2 / 3) / 101)


def test_average_precision_over_thresholds_by_hand():
    """One object found with IoU 0.8: right at 0.50, 0.55 ... 0.80, wrong at 0.85, 0.90 and 0.95."""
    table = tabulate_detections([(ObjectSet((DISC,)), ObjectSet((EIGHT,), (0.9,)))])
    assert table.average_precision(0.5) == 1
    assert table.average_precision(0.85) == 0
    assert table.average_precision() == pytest.approx(0.7)


def test_a_second_prediction_of_one_object_is_wrong_and_costs_only_before_the_right_one():
    """Both overlap enough; the one with the higher score takes the object, the other is a false positive behind it."""
    pair = (ObjectSet((DISC,)), ObjectSet((EIGHT, DISC), (0.9, 0.8)))
    assert tabulate_detections([pair]).average_precision(0.5) == 1
    assert tabulate_detections([pair]).average_precision(0.9) == pytest.approx(0.5)


def test_without_predictions_the_average_precision_is_0_and_without_references_there_is_none():
    assert tabulate_detections([(ObjectSet((DISC,)), NOTHING)]).average_precision() == 0
    assert tabulate_detections([(NOTHING, ObjectSet((DISC,)))]).average_precision() is None
    assert tabulate_detections([]).average_precision() is None


def test_an_unknown_threshold_is_refused():
    with pytest.raises(InputError, match="not matched at an IoU of 0.3"):
        tabulate_detections([(ObjectSet((DISC,)), NOTHING)]).average_precision(0.3)


def _make_pairs(seed, images=30, digits=1):
    """Objects moved at random, some missed, some invented, two classes; scores of one digit are often alike."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(images):
        masks, labels = [], []
        found, scores, names = [], [], []
        for place in range(rng.integers(0, 4)):
            mask, label = box(10 * place, 10 * place + 8), int(rng.integers(1, 3))
            masks.append(mask)
            labels.append(label)
            if rng.random() < 0.8:
                found.append(np.roll(mask, rng.integers(0, 4), axis=rng.integers(2)))
                scores.append(round(float(rng.random()), digits))
                names.append(label if rng.random() < 0.9 else 3 - label)
        if rng.random() < 0.3:
            found.append(FAR)
            scores.append(round(float(rng.random()), digits))
            names.append(1)
        pairs.append((ObjectSet(masks, scores=(), labels=tuple(labels)), ObjectSet(found, scores, names)))
    return pairs


def _ask_pycocotools(pairs):
    """AP[.5:.95] and AP50 by COCOeval itself, from beginning to end."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    from pycocotools.mask import encode

    truth, annotations, results = COCO(), [], []
    for image, (reference, prediction) in enumerate(pairs, start=1):
        for mask, label in zip(reference.masks, reference.labels, strict=True):
            place = {"id": len(annotations) + 1, "image_id": image, "category_id": label, "iscrowd": 0}
            code = encode(np.asfortranarray(mask, dtype=np.uint8))
            annotations.append({**place, "segmentation": code, "area": int(mask.sum()), "bbox": [0, 0, 1, 1]})
        for mask, score, label in zip(prediction.masks, prediction.scores, prediction.labels, strict=True):
            code = encode(np.asfortranarray(mask, dtype=np.uint8))
            results.append({"image_id": image, "category_id": label, "segmentation": code, "score": score})
    shape = {"height": SHAPE[0], "width": SHAPE[1]}
    images = [{"id": image, **shape} for image in range(1, len(pairs) + 1)]
    truth.dataset = {"info": {}, "images": images, "annotations": annotations, "categories": [{"id": 1}, {"id": 2}]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0], evaluation.stats[1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weights_of_one_give_the_figures_of_pycocotools(seed):
    pairs = _make_pairs(seed)
    table = tabulate_detections(pairs)
    mean, at_half = _ask_pycocotools(pairs)
    assert 0.05 < mean < at_half < 0.95  # a case that could come out otherwise
    assert table.average_precision() == pytest.approx(mean, abs=1e-9)
    assert table.average_precision(0.5) == pytest.approx(at_half, abs=1e-9)


def test_a_case_drawn_twice_counts_as_two_cases():
    """What a bootstrap of patients needs: weights do what copies of the images would do."""
    pairs = _make_pairs(5, images=12, digits=9)
    cases = [image // 3 for image in range(12)]  # four patients of three images
    weights = np.array([[2.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    weighed = weigh_average_precision(tabulate_detections(pairs, cases), weights)
    copied = [*pairs[:3], *pairs[:3], *pairs[6:]]
    assert weighed[0] == pytest.approx(tabulate_detections(copied).average_precision(), abs=1e-9)
    assert weighed[1] == pytest.approx(tabulate_detections(pairs).average_precision(), abs=1e-9)
    assert weighed[0] != pytest.approx(weighed[1], abs=1e-3)


def test_no_weight_on_any_reference_is_not_defined():
    table = tabulate_detections([(ObjectSet((DISC,)), NOTHING), (NOTHING, ObjectSet((DISC,)))])
    assert np.isnan(weigh_average_precision(table, np.array([[0.0, 1.0]]), 0.5)).all()


def test_volumes_are_matched_as_images_are():
    volume = np.zeros((6, 8, 10), bool)
    volume[1:5, 2:6, 3:8] = True
    part = volume.copy()
    part[4] = False  # 3 of 4 layers
    assert match_objects(ObjectSet((volume,)), ObjectSet((part,))).overlaps == pytest.approx((0.75,))
    pair = ObjectSet((volume,)), ObjectSet((part,), (0.9,))
    table = tabulate_detections([pair], thresholds=(0.5, 0.75, COCO_THRESHOLDS[-1]))
    assert [table.average_precision(value) for value in (0.5, 0.75, 0.95)] == [1, 1, 0]
