"""The tables say what was scored: bars on phantoms, people apart."""

import pytest

from myotome.studies.respiratory_evaluation import Evaluation, read_protocol, tabulate

TRUTHS = {
    "case_1": {"slice_thickness_mm": 1.0, "noise_hu": 8.0},
    "case_2": {"slice_thickness_mm": 8.0, "noise_hu": 40.0},
}


@pytest.fixture
def tables():
    phantoms = [
        Evaluation(case, "cascade", "pectoralis", score, value, "1")
        for case, dice, error in (("case_1", 0.97, -3.0), ("case_2", 0.99, 1.0))
        for score, value in (("dice", dice), ("volume_error", error))
    ]
    people = [
        Evaluation("chest_ct_lidc", mode, "pectoralis", "dice", value, "1")
        for mode, value in (("cascade", 0.5), ("muscle_range", 0.6))
    ]
    return tabulate(read_protocol(), phantoms, people, TRUTHS).split("\n\n")


def row(table: str, start: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_bar_is_the_mean_over_phantoms_alone(tables):
    cells = row(tables[0], "End-to-end Dice pectoralis")
    assert cells[2].startswith("0.9800") and cells[3:] == ["2", ">= 0.96", "yes"]


def test_errors_count_by_size_and_a_measure_without_cases_is_not_met(tables):
    assert row(tables[0], "Volume error pectoralis")[2:4] == ["2.00 (1.00-3.00)", "2"]
    assert row(tables[0], "Muscle tissue Dice")[2:] == ["no case", "0", "", "no"]


def test_cases_are_told_apart_by_thickness_and_noise(tables):
    assert row(tables[1], "1-1.5 mm")[1:5] == ["1", "", "", "0.9700"]
    assert row(tables[2], "20-35 HU")[1:5] == ["1", "", "", "0.9900"]  # 40 HU at 5 mm are 32 HU at 8 mm


def test_people_have_a_table_of_their_own(tables):
    assert row(tables[3], "chest_ct_lidc") == ["chest_ct_lidc", "pectoralis", "0.500", "0.600", ">= 0.75", "no"]
