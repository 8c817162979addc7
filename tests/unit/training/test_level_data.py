"""The names of vertebrae are read from the heights of their middles, and follow the field that is cut."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from myotome.errors import InputError
from myotome.networks import UNKNOWN
from myotome.training import LevelDataset, LevelSampling, read_datalist
from myotome.training.vertebra_names import name_bins_by_middles
from myotome.transforms import SpineProjections

AFFINE = np.diag([-3.0, -3.0, 3.0, 1.0])
AFFINE[:3, 3] = 90, 90, -500
PITCH = 11


def place(number: int) -> float:
    return -500.0 + 3 * number


def write_volume(folder, name: str, bright: int, slices: int = 60) -> dict:
    """A column of bone with L3 at one bright slab of three slices about ``bright``, and L2 above it."""
    image = np.full((60, 60, slices), 30, np.int16)
    image[25:35, 20:32] = 200
    image[25:35, 20:32, bright - 1 : bright + 2] = 1000
    nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{name}.nii")
    return {"image": f"{name}.nii", "levels": {"L2": place(bright + PITCH), "L3": place(bright)}}


def read(folder, rows: list[dict]) -> list[dict]:
    (folder / "datalist.json").write_text(json.dumps({"training": rows}))
    return read_datalist(folder / "datalist.json", "training")


def name(levels: dict[str, int], bins: int = 60) -> list[int]:
    seen = SpineProjections(np.zeros((5, 64, bins), np.float32), -500.0)
    return name_bins_by_middles({key: place(number) for key, number in levels.items()}, seen).tolist()


def test_boundaries_lie_midway_and_below_l3_all_is_below():
    found = name({"T12": 51, "L1": 40, "L2": 30, "L3": 20, "L4": 10})
    assert found[:15] == [9] * 15 and found[15:25] == [8] * 10 and found[25:35] == [7] * 10
    assert found[35:46] == [6] * 11 and found[46:57] == [5] * 11 and found[57:] == [UNKNOWN] * 3


def test_a_vertebra_that_is_alone_is_known_about_its_middle():
    found = name({"L1": 30})
    assert [index for index, one in enumerate(found) if one != UNKNOWN] == list(range(27, 34))
    found = name({"L3": 20, "L1": 41})  # nobody named L2
    assert found[:17] == [9] * 17 and found[17:24] == [8] * 7 and found[24:38] == [UNKNOWN] * 14


def test_beyond_what_is_learned_the_row_goes_on():
    assert set(name({"L5": 30, "S1": 20})[:33]) == {9}
    assert set(name({"T8": 20, "T7": 30})[25:]) == {0} and set(name({"T6": 30})[27:]) == {0}


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [({"L7": 20}, "'L7' is not a vertebra"), ({"L3": 20, "L2": 10}, "L3, L2 do not lie below each other")],
)
def test_levels_that_cannot_be_are_refused(levels, sentence):
    with pytest.raises(InputError, match=sentence):
        name(levels)


def test_the_whole_field_has_its_level_where_it_is(tmp_path):
    rows = read(tmp_path, [write_volume(tmp_path, "a", 40), write_volume(tmp_path, "b", 20, slices=50)])
    data = LevelDataset(rows)
    assert len(data) == 2
    first, second = data[0], data[1]
    assert first["image"].shape == (5, 64, 160) and first["label"].shape == (2, 160)
    run = torch.nonzero(first["label"][0] == 8)[:, 0]
    assert (run[0] + run[-1]) / 2 == pytest.approx(40, abs=0.5) and len(run) == PITCH
    assert int(first["image"][0, 32].argmax()) in (39, 40, 41)
    assert first["label"][1].sum() == 60 and second["label"][1].sum() == 50
    assert second["label"][0, 50:].eq(UNKNOWN).all()


def test_the_names_move_with_the_field(tmp_path):
    rows = read(tmp_path, [write_volume(tmp_path, "a", 40)])
    data = LevelDataset(rows, 40, 3, LevelSampling(noise=0.0, gain=(1.0, 1.0), least_mm=60))
    whole = 0
    for sample in (data[number] for number in range(40)):
        names, inside = sample["label"]
        assert names[inside == 0].eq(UNKNOWN).all() and not sample["image"][..., inside == 0].any()
        bright, run = torch.nonzero(sample["image"][0].amax(0) > 0.8)[:, 0], torch.nonzero(names == 8)[:, 0]
        if (names == 9).any() and (names == 7).any():
            assert float(bright.float().mean()) == pytest.approx(float(run.float().mean()), abs=1.0)
            whole += 1
    assert 5 < whole < 40


def test_a_sample_depends_on_its_number_alone(tmp_path):
    rows = read(tmp_path, [write_volume(tmp_path, "a", 40)])
    data = LevelDataset(rows, length=10, seed=1)
    third = data[3]["image"]
    data.start = 3
    assert torch.equal(data[0]["image"], third) and len(data) == 7


def test_a_list_that_does_not_say_where_the_vertebrae_are_is_refused(tmp_path):
    row = write_volume(tmp_path, "a", 40)
    for levels in (None, {}, [4.0], {"L3": {"z_mm": 4.0}}, {"L3": float("nan")}):
        with pytest.raises(InputError, match="does not say where the vertebrae are"):
            LevelDataset(read(tmp_path, [{**row, "levels": levels}]))
    with pytest.raises(InputError, match="data list is empty"):
        LevelDataset([])
