"""One case scored: pixels and objects by hand, what lies above the annotated discs left out, names told."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.geometry import Grid
from myotome.structures import LabelMap
from myotome.studies.lumbar_disc.scoring import score_case, score_levels
from tests.unit.studies.lumbar_disc.finders import MOVED, SCHEMA, SHAPE, Seen, draw_box

AXIAL = Grid(SHAPE, np.diag([1.0, 1.0, 4.0, 1.0]))


def axial(mask):
    return LabelMap(np.where(mask[..., None], 6, 0).astype(np.uint8), AXIAL, SCHEMA)


def test_a_moved_box_by_hand():
    moved = draw_box(7)
    scores = score_case(axial(draw_box(5)), axial(moved), [Seen(0, 0.9, moved)])
    (row,) = scores.rows
    for measure in ("precision", "recall", "dice"):
        assert row[measure] == pytest.approx(MOVED[measure])
    assert (row["found"], row["missed"], row["invented"]) == (1, 0, 0)
    assert row["overlap"] == pytest.approx(MOVED["iou"])
    assert row["hd95_mm"] == pytest.approx(2.0)


def test_detections_below_the_least_score_are_no_objects_but_stay_for_the_average_precision():
    box = draw_box(5)
    scores = score_case(axial(box), axial(box), [Seen(0, 0.3, box), Seen(0, 0.9, draw_box(15))])
    (row,) = scores.rows
    assert (row["found"], row["missed"], row["invented"]) == (0, 1, 1)
    assert scores.pairs[0][1].scores == (0.3, 0.9)


def test_a_missed_disc_has_no_precision_and_no_distance():
    (row,) = score_case(axial(draw_box(5)), axial(np.zeros(SHAPE[:2], bool)), []).rows
    assert (row["precision"], row["recall"], row["dice"], row["hd95_mm"], row["nsd"]) == (None, 0, 0, None, 0)
    assert (row["found"], row["missed"], row["invented"]) == (0, 1, 0)


def sagittal(boxes):
    """Two slices across, then front to back, then up: a box 20 mm deep and 6 mm high by label and height."""
    labels = np.zeros((2, 30, 80), np.uint8)
    for label, height in boxes.items():
        labels[:, 5:25, height : height + 6] = label
    return LabelMap(labels, Grid(labels.shape, np.diag([4.0, 1.0, 1.0, 1.0])), SCHEMA)


def seen(slice_index, height, score=0.9):
    mask = np.zeros((30, 80), bool)
    mask[5:25, height : height + 6] = True
    return Seen(slice_index, score, mask)


def test_above_the_topmost_annotated_disc_nothing_counts():
    reference = sagittal({5: 10, 4: 30})
    found = [seen(index, height) for index in (0, 1) for height in (10, 30, 60)]
    scores = score_case(reference, reference, found)
    assert [(row["slice"], row["found"], row["invented"]) for row in scores.rows] == [(0, 2, 0), (1, 2, 0)]
    assert all(len(pair[1].masks) == 2 for pair in scores.pairs)


def test_between_the_annotated_discs_it_does():
    reference = sagittal({5: 10, 4: 40})
    (row, _) = score_case(reference, reference, [seen(0, 10), seen(0, 25), seen(0, 40)]).rows
    assert (row["found"], row["invented"]) == (2, 1)


def test_the_names_of_the_discs():
    reference = sagittal({5: 10, 4: 30, 3: 50})
    right = score_levels(reference, reference)
    assert (right["labelled"], right["named"], right["dice_disc_l5_s1"], right["dice_disc_l1_l2"]) == (3, 3, 1, None)
    one_off = score_levels(reference, sagittal({4: 10, 3: 30, 2: 50}))
    assert (one_off["labelled"], one_off["named"], one_off["dice_disc_l5_s1"]) == (3, 0, 0)
    unnamed = LabelMap(np.where(reference.array > 0, 6, 0).astype(np.uint8), reference.grid, SCHEMA)
    assert score_levels(reference, unnamed)["named"] == 0
