"""Scores of whole label maps on an anisotropic, flipped grid."""

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.metrics import score_label_map
from myotome.structures import LabelMap, read_label_schema

SHAPE = (30, 24, 12)
GRID = Grid(SHAPE, np.array([[-1.0, 0, 0, 9], [0, -1.0, 0, 7], [0, 0, 4.0, -3], [0, 0, 0, 1]]))


def make_map(array, grid=GRID):
    return LabelMap(array.astype(np.uint8), grid, read_label_schema())


def make_pair():
    """Pectoralis moved by one voxel of 1 mm, erector spinae right, intercostal missed, some other muscle invented."""
    reference, prediction = np.zeros((2, *SHAPE))
    reference[2:12, 4:14, 3:9], prediction[3:13, 4:14, 3:9] = 1, 1
    reference[18:26, 4:12, 2:10] = prediction[18:26, 4:12, 2:10] = 2
    reference[2:6, 18:22, 2:10] = 3
    prediction[20:24, 18:20, 2:10] = 4
    return reference, prediction


def values(scores):
    return {(score.structure, score.score): score.value for score in scores}


def test_scores_of_a_known_pair():
    scored = values(score_label_map(make_map(make_pair()[0]), make_map(make_pair()[1])))
    assert scored["pectoralis", "dice"] == pytest.approx(0.9)
    assert scored["pectoralis", "hd95"] == pytest.approx(1.0)
    assert scored["pectoralis", "nsd"] == 1
    assert scored["pectoralis", "volume_error"] == 0
    assert scored["erector_spinae", "dice"] == scored["erector_spinae", "nsd"] == 1
    assert scored["erector_spinae", "assd"] == 0
    assert scored["intercostal", "dice"] == scored["intercostal", "nsd"] == 0
    assert scored["intercostal", "hd95"] is None
    assert scored["intercostal", "volume_error"] == -100
    assert scored["other_muscle", "dice"] == 0
    assert scored["other_muscle", "volume_error"] is None
    sizes = {"pectoralis": 600, "erector_spinae": 512, "intercostal": 128, "other_muscle": 64}
    found = 540 + 512
    total = 2 * (600 + 512) + 128
    assert scored["respiratory_muscles", "dice"] == pytest.approx(2 * found / total)
    assert scored["muscle_tissue", "dice"] == pytest.approx(2 * found / (total + sizes["other_muscle"]))


def test_generalized_dice_rows():
    reference, _ = make_pair()
    scored = values(score_label_map(make_map(reference), make_map(reference)))
    assert scored["all", "generalized_dice"] == pytest.approx(1)
    assert scored["all", "generalized_dice_with_background"] == pytest.approx(1)
    assert scored["other_muscle", "dice"] is None and scored["other_muscle", "nsd"] is None


def test_density_error_counts_the_muscle_range_only():
    reference, prediction = np.zeros((2, *SHAPE))
    reference[:10], prediction[:12] = 2, 2
    density = np.full(SHAPE, 40, np.int16)
    density[10:12] = 100
    density[3] = -100
    scored = values(score_label_map(make_map(reference), make_map(prediction), Volume(density, GRID)))
    assert scored["erector_spinae", "density_error"] == pytest.approx((9 * 40 + 2 * 100) / 11 - 40)
    assert scored["erector_spinae", "volume_error"] == pytest.approx(20)


def test_slices_restrict_and_measure_in_plane():
    reference, prediction = make_pair()
    prediction[..., 0] = 4
    prediction[..., 11] = 4
    scored = values(score_label_map(make_map(reference), make_map(prediction), slices=[4, 6]))
    assert scored["pectoralis", "dice"] == pytest.approx(0.9)
    assert scored["pectoralis", "hd95"] == pytest.approx(1.0)
    assert scored["erector_spinae", "dice"] == 1


def test_slices_follow_the_inferior_superior_axis():
    reference, prediction = make_pair()
    prediction[..., 0] = 4
    order = (2, 0, 1)
    grid = Grid(tuple(SHAPE[axis] for axis in order), GRID.affine[:, [*order, 3]])
    turned = [make_map(array.transpose(order), grid) for array in (reference, prediction)]
    straight = [make_map(array) for array in (reference, prediction)]
    assert values(score_label_map(*turned, slices=[4])) == pytest.approx(values(score_label_map(*straight, slices=[4])))
    assert values(score_label_map(*turned)) == pytest.approx(values(score_label_map(*straight)))


def test_ignored_voxels_count_for_nothing():
    reference, prediction = make_pair()
    ignore = np.zeros(SHAPE, bool)
    ignore[:, 16:] = True
    scored = values(score_label_map(make_map(reference), make_map(prediction), ignore=ignore))
    assert scored["intercostal", "dice"] is None
    assert scored["other_muscle", "dice"] is None
    assert scored["muscle_tissue", "dice"] == pytest.approx(2 * (540 + 512) / (2 * (600 + 512)))


def test_refusals():
    reference, prediction = make_pair()
    pair = make_map(reference), make_map(prediction)
    other_grid = Grid(SHAPE, np.diag([1.0, 1, 1, 1]))
    with pytest.raises(InputError, match="not on the reference's grid"):
        score_label_map(pair[0], make_map(prediction, other_grid))
    with pytest.raises(InputError, match="indices from 0 to 11"):
        score_label_map(*pair, slices=[12])
    with pytest.raises(InputError, match="ignore mask"):
        score_label_map(*pair, ignore=np.zeros((2, 2, 2), bool))
