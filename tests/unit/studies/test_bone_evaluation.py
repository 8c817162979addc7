"""What the bone bundle is scored by: Dice in the slices of the reference's bodies, and a verdict for each body."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.io import write_label_map, write_volume
from myotome.structures import LabelMap, read_label_schema
from myotome.studies import bone_evaluation
from myotome.studies.bone_evaluation import evaluate_bones, read_bone_protocol, score_bones, tabulate_bones

GRID = Grid((12, 12, 30), np.diag([-3.0, -3.0, 3.0, 1.0]))


def make(names: dict[int, int]) -> LabelMap:
    """Bodies of 6 x 6 x 6 voxels by their lowest slice, fat beside them in every slice."""
    array = np.zeros(GRID.shape, np.uint8)
    array[10:, :] = 10
    for first, name in names.items():
        array[2:8, 2:8, first : first + 6] = name
    return LabelMap(array, GRID, read_label_schema("bone_density_ct"))


def test_each_body_is_found_wrong_or_missed_and_dice_is_within_their_slices():
    reference = make({3: 6, 12: 5, 21: 4})
    prediction = make({3: 6, 12: 4})
    prediction.array[10:, :, :3] = 0  # below the lowest body nothing is compared
    prediction.array[11, :, 3:27] = 0
    prediction.array[2:4, 2:4, 21:23] = 4  # a scrap of a body
    scores = score_bones(reference, prediction)
    assert scores["levels"] == {
        "vertebral_body_t11": "missed",
        "vertebral_body_t12": "wrong",
        "vertebral_body_l1": "found",
    }
    assert scores["dice"]["vertebral_body_l1"] == 1 and scores["dice"]["vertebral_body_t12"] == 0
    assert scores["dice"]["subcutaneous_fat"] == pytest.approx(2 / 3)
    assert scores["dice"]["vertebral_body"] == pytest.approx(2 * 440 / (648 + 440))
    assert "aorta" not in scores["dice"]
    assert set(score_bones(reference, None)["levels"].values()) == {"refused"}


class Segmenter:
    """Gives the first case its truth, and refuses the second."""

    weights_sha256, precision = "a" * 64, "float32"

    def __init__(self) -> None:
        self.calls = 0

    def segment(self, volume: Volume) -> LabelMap:
        self.calls += 1
        if volume.array.max() == 2:
            raise InputError("the vertebrae of this scan cannot be named surely enough.")
        return make({3: 6, 12: 5})


def test_a_run_goes_on_and_the_table_counts(tmp_path, monkeypatch):
    def write(request, progress):
        folders = [request.output / name for name in ("case_1", "case_2")]
        for number, folder in enumerate(folders, start=1):
            folder.mkdir(parents=True, exist_ok=True)
            write_volume(folder / "image.nii.gz", Volume(np.full(GRID.shape, number, np.int16), GRID))
            write_label_map(folder / "labels.nii.gz", make({3: 6, 12: 5}))
        assert request.anatomy == "bone" and request.seed == 650000
        return folders

    monkeypatch.setattr(bone_evaluation, "write_phantoms", write)
    protocol, segmenter = read_bone_protocol(), Segmenter()
    scores = evaluate_bones(protocol, segmenter, tmp_path)
    assert evaluate_bones(protocol, segmenter, tmp_path) == scores and segmenter.calls == 2
    table = tabulate_bones(scores, protocol)
    assert "| Dice of the bodies together | 1.000 | ≥ 0.93 | yes |" in table
    assert "| Bodies with the right name (share) | 0.500 | ≥ 0.95 | no |" in table
    assert "| vertebral_body_l1 | 1.000 | 1 | 0 | 0 | 1 |" in table
    assert "| Dice of the aorta | none | ≥ 0.9 | no |" in table
    assert table.endswith("2 phantoms, 1 of them refused as a whole.")
