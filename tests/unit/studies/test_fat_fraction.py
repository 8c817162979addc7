"""Dixon data made by hand, with headers that disagree as the real ones do, and the real ones where they are at hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from myotome.cli.app import app
from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.io.nifti import write_nifti
from myotome.phantoms.shoulder import make_shoulder
from myotome.report.comparisons import compute_agreements
from myotome.structures import LabelMap, read_label_schema
from myotome.studies.fat_fraction import (
    CONTRASTS,
    DixonCase,
    compare_dixon,
    compare_phantoms,
    make_dixon_comparisons,
    make_phantom_comparisons,
    read_dixon_case,
    summarise_phantoms,
)

WATER, FAT, SHARE = 300.0, 1100.0, 0.1


def _draw(slices: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A back of 1 mm pixels: subcutaneous fat below two muscles, in which every tenth column is fat."""
    rng = np.random.default_rng(5)
    tissue = np.zeros((120, 120, slices))
    tissue[:, 90:] = 1
    labels = np.zeros(tissue.shape, np.int16)
    labels[20:55, 60:86], labels[65:100, 60:86] = 1, 4
    columns = np.zeros(tissue.shape, bool)
    columns[::10] = True
    tissue[columns & (labels > 0)] = 1
    water = WATER * (1 - tissue) + rng.normal(0, 4, tissue.shape)
    fat = FAT * tissue + rng.normal(0, 4, tissue.shape)
    return np.clip(water, 0, None), np.clip(fat, 0, None), labels


def _write(folder, water, fat, labels, spacing=1.0):
    """The fat image and the labels have an origin, the water image has lost it."""
    there = np.diag([-spacing, -spacing, 4.0, 1.0])
    there[:3, 3] = (200, 150, 190)
    lost = np.diag([-1.0, -1.0, 4.0, 1.0])
    for name, array, affine in (("water", water, lost), ("fat", fat, there), ("labels", labels, there)):
        array = array.astype(np.float32 if name != "labels" else np.int16)
        write_nifti(folder / f"p1_{name}.nii.gz", Volume(array, Grid(array.shape, affine), "MR"))


def test_images_with_other_origins_are_combined_by_index(tmp_path):
    water, fat, labels = _draw()
    _write(tmp_path, water, fat, labels)
    case = read_dixon_case(tmp_path)
    assert np.allclose(case.water, water, atol=0.1)
    assert np.array_equal(case.labels, labels)
    assert case.spacing_mm == (1.0, 1.0)


def test_the_estimate_agrees_with_dixon_on_a_drawn_back():
    water, fat, labels = _draw()
    table = compare_dixon(DixonCase(water, fat, labels, (1.0, 1.0)))
    assert list(table["muscle"]) == ["right erector spinae"] * 2 + ["left erector spinae"] * 2
    for row in table.itertuples():
        assert row.reference_tissue == pytest.approx(100 * SHARE, abs=2.0)
        assert row.tissue == pytest.approx(row.reference_tissue, abs=2.5)
    in_phase = table[table["contrast"] == "in phase"].iloc[0]
    assert in_phase["reference_signal"] > 2 * in_phase["reference_tissue"]
    assert in_phase["signal"] == pytest.approx(in_phase["reference_signal"], abs=5.0)


def test_small_cuts_are_left_out():
    water, fat, labels = _draw()
    labels[labels == 4] = 0
    labels[70:80, 60:70] = 4
    assert set(compare_dixon(DixonCase(water, fat, labels, (1.0, 1.0)))["muscle"]) == {"right erector spinae"}


def test_images_that_do_not_belong_together_are_refused(tmp_path):
    water, fat, labels = _draw()
    with pytest.raises(InputError, match="0 NIfTI files named 'water'"):
        read_dixon_case(tmp_path)
    _write(tmp_path, water, fat[:-1], labels)
    with pytest.raises(InputError, match="'fat' has"):
        read_dixon_case(tmp_path)
    _write(tmp_path, water, fat, labels, spacing=1.2)
    with pytest.raises(InputError, match="differ in voxel spacing"):
        read_dixon_case(tmp_path)


def test_phantoms_are_compared_with_their_truth():
    done = []
    table = compare_phantoms(5, 300_800, lambda *counts: done.append(counts))
    assert sorted(table["grade"]) == [0, 1, 2, 3, 4]
    assert done[-1] == (5, 5, "phantoms")
    mixture, otsu = make_phantom_comparisons(table)
    assert mixture.group_names == tuple(f"grade {grade}" for grade in range(5))
    assert np.array_equal(otsu.a, table["reference"])


def test_phantoms_are_measured_within_the_contour_that_is_drawn():
    def draw_nothing(volume):
        return LabelMap(np.zeros(volume.grid.shape, np.uint8), volume.grid, read_label_schema("supraspinatus_mri"))

    def draw_truth(volume):
        return make_shoulder(300_800, grade=0).label_map

    table = compare_phantoms(1, 300_800, segment=draw_nothing)
    assert table["fat_fraction"].isna().all() and table["flags"][0] == "absent"
    assert compare_phantoms(1, 300_800, segment=draw_truth).equals(compare_phantoms(1, 300_800))


def test_the_summary_by_hand():
    table = pd.DataFrame(
        {
            "sequence": ["T2", "T2", "T1", "T1"],
            "reference": [10.0, 20.0, 30.0, 40.0],
            "fat_fraction": [11.0, 17.0, 30.0, np.nan],
            "lower": [9.0, 16.0, 28.0, np.nan],
            "upper": [13.0, 18.0, 32.0, np.nan],
        }
    )
    error, interval, refused = summarise_phantoms(table)
    assert error == "Mean absolute error 1.33 points over 3 phantoms: T1 0.00 (n = 1), T2 2.00 (n = 2); largest 3.0."
    assert interval == "The interval held the true value in 66.7 % of them."
    assert refused.startswith("1 of 4 were refused")


def test_the_command_wants_one_reference():
    for words in ([], ["--phantoms", "5", "--dixon", "."], ["--dixon", ".", "--bundle", "any"]):
        result = CliRunner().invoke(app, ["study", "fat-fraction", *words])
        assert isinstance(result.exception, InputError)


def test_the_command_prints_and_writes(tmp_path):
    _write(tmp_path, *_draw(3))
    words = ["study", "fat-fraction", "--dixon", str(tmp_path), "-o", str(tmp_path / "result")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "slices of one person are alike" in " ".join(result.output.split())
    table = pd.read_csv(tmp_path / "result" / "fat_fractions.csv")
    assert len(table) == 3 * 2 * len(CONTRASTS)
    assert (tmp_path / "result" / "report.html").is_file()


def test_real_dixon_muscles(shared_data):
    """One person: four muscles in 29 slices, of which every fourth is tried here."""
    folder = shared_data / "paraspinal_dixon_mr"
    if not folder.is_dir():
        pytest.skip(f"the Dixon data are not at {folder}")
    case = read_dixon_case(folder)
    every = slice(2, None, 6)
    case = DixonCase(case.water[..., every], case.fat[..., every], case.labels[..., every], case.spacing_mm)
    table = compare_dixon(case)
    in_phase = table[(table["contrast"] == "in phase") & table["muscle"].str.contains("erector")]
    reference = in_phase["reference_signal"]
    assert reference.between(8, 30).all()
    assert in_phase["signal"].notna().mean() > 0.7
    agreement = compute_agreements(make_dixon_comparisons(in_phase))[0]
    assert abs(agreement.bland_altman.bias.value) < 4
