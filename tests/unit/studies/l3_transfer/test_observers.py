"""The observer model against contours moved by a known distance; readers' masks, and what is refused of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.io import write_label_map
from myotome.structures import LabelMap, read_label_schema
from myotome.studies.l3_transfer.analysis import Scoring, summarise_observers
from myotome.studies.l3_transfer.cases import SCHEMA
from myotome.studies.l3_transfer.observers import (
    Outline,
    draw_observer,
    find_margin_mm,
    read_readers,
    score_observers,
    simulate_observers,
)
from myotome.studies.l3_transfer.scoring import masks_of, score_slice
from myotome.studies.l3_transfer.settings import ObserverModel
from tests.unit.studies.l3_transfer.answers import make_settings, make_slice

MODEL = ObserverModel(count=10, outward_mm=0.0, systematic_mm=1.0, random_mm=1.0, correlation_mm=15.0, seed=1)


def draw(item, model, observer, case):
    return draw_observer(Outline(item, find_margin_mm(model)), model, observer, case)


def test_an_observer_without_deviation_draws_the_reference():
    item = make_slice()
    drawn = draw(item, replace(MODEL, systematic_mm=0.0, random_mm=0.0), 3, 5)
    assert np.array_equal(masks_of(drawn)["muscle_compartment"], masks_of(item.label)["muscle_compartment"])
    assert np.array_equal(masks_of(drawn)["skeletal_muscle"], masks_of(item.label)["skeletal_muscle"])


@pytest.mark.parametrize("part", ["systematic_mm", "random_mm"])
def test_contours_move_by_the_deviation(part):
    """RMS-DTA over many observers is the deviation's SD, less what two ways across a curve are shorter."""
    item, model = make_slice(), replace(MODEL, systematic_mm=0.0, random_mm=0.0)
    model = replace(model, **{part: 2.0})
    squares = []
    for observer in range(40):
        drawn = draw(item, model, observer, observer)
        squares.append(score_slice(item, drawn)["muscle_compartment_rms_dta_mm"] ** 2)
    assert np.sqrt(np.mean(squares)) == pytest.approx(2.0, rel=0.2)


def test_what_is_drawn_too_wide_is_off_by_that():
    model = replace(MODEL, outward_mm=2.4, systematic_mm=0.0, random_mm=0.0)
    scores = score_slice(make_slice(), draw(make_slice(), model, 0, 0))
    assert scores["muscle_compartment_rms_dta_mm"] == pytest.approx(2.4, abs=0.2)
    assert scores["sma_cm2"] == scores["reference_sma_cm2"], "beside the ring there is fat alone, which HU leaves out"


def test_a_habit_is_the_same_in_every_case_and_a_deviation_is_not():
    item = make_slice()
    habit, chance = replace(MODEL, random_mm=0.0), replace(MODEL, systematic_mm=0.0)
    assert np.array_equal(draw(item, habit, 2, 0), draw(item, habit, 2, 9))
    assert not np.array_equal(draw(item, habit, 2, 0), draw(item, habit, 3, 0))
    assert not np.array_equal(draw(item, chance, 2, 0), draw(item, chance, 2, 9))
    assert np.array_equal(draw(item, chance, 2, 9), draw(item, chance, 2, 9))


def test_fat_stays_fat_inside_the_outline():
    item = make_slice()
    drawn = draw(item, replace(MODEL, systematic_mm=2.0), 0, 0)
    inside = drawn > 0
    assert set(np.unique(drawn)) == {0, 1, 4}
    assert np.array_equal(drawn[inside] == 4, np.isin(item.label[inside], (2, 3, 4)))


def test_the_protocol_s_observers_agree_as_published_readers_do():
    """Limits of agreement of 17.6 cm2 between two readers are 3.2 cm2 for one: 2 % or so of a muscle area."""
    slices = [make_slice(case) for case in range(6)]
    model = make_settings().observers
    table, spread = summarise_observers(score_observers(simulate_observers(slices, model)), Scoring("skeletal_muscle"))
    assert len(table) == 10 and 0.92 <= table["dice"].min() <= table["dice"].max() < 0.995
    assert 0.5 <= spread["sma_cv_percent"] <= 3.5


# -- readers -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def slices():
    return [make_slice(case) for case in range(4)]


def write_masks(folder, slices, change=lambda label: label):
    folder.mkdir(parents=True)
    for item in slices:
        array = change(item.label)[..., None].astype(np.uint8)
        label_map = LabelMap(array, item.volume.grid, read_label_schema(SCHEMA))
        write_label_map(folder / f"{item.case}.nii.gz", label_map)


def test_readers_masks_are_scored(tmp_path, slices):
    write_masks(tmp_path / "anna", slices)
    write_masks(tmp_path / "ben", slices, lambda label: np.where(label == 4, 0, label))
    table = score_observers(read_readers(tmp_path, slices))
    dice = table.groupby("observer")["muscle_compartment_dice"].mean()
    assert dice["anna"] == 1 and dice["ben"] < 1 and len(table) == 8
    assert table.groupby("observer")["skeletal_muscle_dice"].mean()["ben"] == 1


def test_masks_that_do_not_fit_are_refused(tmp_path, slices):
    with pytest.raises(InputError, match="is not a folder"):
        read_readers(tmp_path / "absent", slices)
    write_masks(tmp_path / "anna", slices)
    with pytest.raises(InputError, match="has 1 readers"):
        read_readers(tmp_path, slices)
    write_masks(tmp_path / "ben", slices[:3])
    with pytest.raises(InputError, match="only one of the readers 'anna' and 'ben' has a mask of case 'case_000003'"):
        read_readers(tmp_path, slices)
    with pytest.raises(InputError, match="reader 'anna' has a mask 'case_000003', which is no case of the study"):
        read_readers(tmp_path, slices[:3])
    (tmp_path / "anna" / "case_000003.nii.gz").unlink()
    shifted = LabelMap(
        slices[0].label[:100, :, None].copy(),
        type(slices[0].volume.grid)((100, 200, 1), np.eye(4)),
        read_label_schema(SCHEMA),
    )
    write_label_map(tmp_path / "ben" / "case_000001.nii.gz", shifted)
    with pytest.raises(InputError, match="reader 'ben': 'case_000001.nii.gz' is not on its image's grid"):
        read_readers(tmp_path, slices)
