"""Steps that are done once, what is asked of each training, and lists with whole paths."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from myotome.errors import InputError
from myotome.training import BundleTraining
from myotome.training.steps import (
    Step,
    Steps,
    find_phantoms,
    list_words,
    make_teller,
    read_lists,
    read_overrides,
    write_lists,
)


@dataclass
class Trainer:
    """Stands for training: tells a share of it, writes a file where weights would be, and remembers what was asked."""

    share: float = 1.0
    asked: list[BundleTraining] = field(default_factory=list)

    def __call__(self, training: BundleTraining, report) -> Path:
        self.asked.append(training)
        training.weights.write_text("weights")
        report("level 20/20, loss 0.5", self.share)
        return training.weights


def test_a_step_is_trained_in_its_folder_and_only_once(tmp_path):
    trainer = Trainer()
    steps = Steps(tmp_path / "bundle", tmp_path / "runs", train=trainer)
    step = Step("muscle_125", "muscle", tmp_path / "list.json", overlays=("train_distil",))
    assert not steps.is_done("muscle_125") and steps.run(step) and steps.is_done("muscle_125")
    assert steps.run(step) and len(trainer.asked) == 1
    (training,) = trainer.asked
    assert training.weights == steps.weights("muscle_125") == tmp_path / "runs" / "muscle_125" / "model.pt"
    assert training.checkpoints == tmp_path / "runs" / "muscle_125"
    assert training.only == ("muscle",) and training.overlays == ("train_distil",)


def test_a_step_without_weights_is_trained_again(tmp_path):
    trainer = Trainer()
    steps = Steps(tmp_path, tmp_path, train=trainer)
    steps.run(Step("level", "level", tmp_path / "list.json"))
    steps.weights("level").unlink()
    assert not steps.is_done("level") and steps.run(Step("level", "level", tmp_path / "list.json"))
    assert len(trainer.asked) == 2


def test_all_of_several_steps_must_be_done(tmp_path):
    steps = Steps(tmp_path, tmp_path, train=Trainer())
    steps.run(Step("level", "level", tmp_path / "list.json"))
    assert steps.is_done("level") and not steps.is_done("level", "muscle")


def test_what_a_user_overrides_goes_before_what_a_step_wants(tmp_path):
    trainer = Trainer()
    steps = Steps(tmp_path, tmp_path, 5, read_overrides(["--iterations", "9"]), trainer)
    steps.run(Step("phantom", "muscle", tmp_path / "list.json", {"iterations": 2500, "source": "scratch"}))
    expected = {"cache_dir": tmp_path / "cache", "max_minutes": 5, "iterations": "9", "source": "scratch"}
    assert dict(trainer.asked[0].overrides) == expected


@pytest.mark.parametrize(
    ("minutes", "share", "done"),
    [(0, 0.4, True), (1e-9, 0.4, False), (1e-9, 1.0, True), (1000, 0.4, True)],
    ids=["no clock", "stopped by the clock", "at its end when the clock ran out", "ended early, before the clock"],
)
def test_a_step_is_done_unless_the_clock_stopped_it(tmp_path, minutes, share, done):
    steps = Steps(tmp_path, tmp_path, minutes, train=Trainer(share))
    assert steps.run(Step("level", "level", tmp_path / "list.json")) is done
    assert steps.is_done("level") is done


def test_the_line_of_a_step_says_how_far_it_is(capsys):
    make_teller("level")("level 40/200, loss 0.4", 0.2)
    assert capsys.readouterr().out.startswith("level: level 40/200, loss 0.4, 20 %, 0.0 min")


def test_overrides_are_read_in_both_ways():
    assert read_overrides(["--iterations", "20", "--source=jigsaw"]) == {"iterations": "20", "source": "jigsaw"}
    assert read_overrides([]) == {}


@pytest.mark.parametrize("words", [["--iterations"], ["iterations", "20"], ["--iterations", "20", "30"]])
def test_overrides_that_are_no_pairs_are_refused(words):
    with pytest.raises(InputError, match="is not a config key with a value"):
        read_overrides(words)


def test_options_of_a_recipe():
    words = list_words({"count": 4, "volume": True, "plane": "axial"})
    assert words == ["--count", "4", "--volume", "--plane", "axial"]


def test_phantoms_that_are_there_are_not_made_again(tmp_path):
    (tmp_path / "datalist.json").write_text("{}")
    assert find_phantoms(tmp_path, "no such anatomy", {}) == tmp_path / "datalist.json"


def test_phantoms_are_made_where_there_are_none(tmp_path):
    datalist = find_phantoms(tmp_path / "slices", "abdomen", {"count": 1, "seed": 990000}, jobs=1)
    (row,) = read_lists(datalist)["training"]
    assert row["case"] == "case_990000" and Path(row["image"]).is_file() and Path(row["label"]).is_file()


def test_lists_have_whole_paths_and_the_columns_that_are_asked_for(tmp_path):
    row = {"image": "a/image.nii.gz", "label": "a/labels.nii.gz", "grade": 2, "patient": "a"}
    path = write_lists({"training": [row], "validation": [{"image": "b.nii"}]}, tmp_path / "deep" / "datalist.json")
    folder = tmp_path / "deep"
    whole = {**row, "image": str(folder / row["image"]), "label": str(folder / row["label"])}
    assert read_lists(path) == {"training": [whole], "validation": [{"image": str(folder / "b.nii")}]}
    assert read_lists(path, ("image", "grade"))["training"] == [{"image": whole["image"], "grade": 2}]
    assert json.loads(path.read_text())["training"] == [row]
