"""Folders of phantoms are complete, resumable, and never take the place of something else."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from myotome import phantom_dataset
from myotome.errors import InputError, OutputError
from myotome.io import read_label_map, read_volume
from myotome.phantom_dataset import PhantomRequest, write_phantoms
from myotome.phantoms.abdomen import AbdomenScan
from myotome.phantoms.bone import BoneScan
from myotome.phantoms.lumbar import LumbarScan
from myotome.phantoms.thorax import Scan
from myotome.structures import read_label_schema

COARSE = Scan(slice_thickness_mm=8.0, in_plane_mm=4.0, matrix=100, sub_slice_mm=8.0, bottom=0.5, top=0.8)


@pytest.fixture(autouse=True)
def coarse_scans(monkeypatch):
    monkeypatch.setattr(phantom_dataset, "make_scan", lambda seed: COARSE)


def test_each_case_has_its_image_its_labels_and_a_row_of_truth(tmp_path):
    folders = write_phantoms(PhantomRequest(tmp_path / "people", count=3, seed=5))
    assert [folder.name for folder in folders] == ["case_000005", "case_000006", "case_000007"]
    with (tmp_path / "people" / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    for folder, row in zip(folders, rows, strict=True):
        image = read_volume(folder / "image.nii.gz")
        labels = read_label_map(folder / "labels.nii.gz", read_label_schema())
        assert image.grid.same_as(labels.grid)
        counted_ml = (labels.array == 1).sum() * labels.grid.voxel_volume_mm3 / 1000
        assert counted_ml == pytest.approx(float(row["pectoralis_volume_ml"]), rel=0.3)


def test_the_data_list_splits_people_and_names_every_case_once(tmp_path):
    write_phantoms(PhantomRequest(tmp_path / "people", count=4))
    table = json.loads((tmp_path / "people" / "datalist.json").read_text())
    images = [row["image"] for part in table.values() for row in part]
    assert len(table["validation"]) == 1
    assert sorted(images) == [f"case_{seed:06d}/image.nii.gz" for seed in range(4)]


def test_a_second_run_makes_only_what_is_missing(tmp_path):
    request = PhantomRequest(tmp_path / "people", count=2)
    first, second = write_phantoms(request)
    untouched = (first / "image.nii.gz").stat().st_mtime_ns
    (second / "truth.json").unlink()
    write_phantoms(request)
    assert (first / "image.nii.gz").stat().st_mtime_ns == untouched
    assert (second / "truth.json").is_file()


def test_two_jobs_make_what_one_does(tmp_path):
    alone = write_phantoms(PhantomRequest(tmp_path / "one", count=2))
    together = write_phantoms(PhantomRequest(tmp_path / "two", count=2, jobs=2))
    for one, two in zip(alone, together, strict=True):
        for name in ("image.nii.gz", "labels.nii.gz", "truth.json"):
            assert (one / name).read_bytes() == (two / name).read_bytes()


def test_dicom_reads_back_as_the_same_image(tmp_path):
    (nifti,) = write_phantoms(PhantomRequest(tmp_path / "nifti"))
    (dicom,) = write_phantoms(PhantomRequest(tmp_path / "dicom", image_format="dicom"))
    assert read_volume(dicom / "dicom").array.mean() == pytest.approx(read_volume(nifti / "image.nii.gz").array.mean())


def test_a_folder_of_something_else_is_left_alone_even_with_overwrite(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="something else"):
        write_phantoms(PhantomRequest(tmp_path, overwrite=True))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_other_phantoms_are_replaced_only_when_asked(tmp_path):
    write_phantoms(PhantomRequest(tmp_path / "people"))
    other = PhantomRequest(tmp_path / "people", image_format="dicom")
    with pytest.raises(OutputError, match="--overwrite"):
        write_phantoms(other)
    (folder,) = write_phantoms(PhantomRequest(tmp_path / "people", image_format="dicom", overwrite=True))
    assert not (folder / "image.nii.gz").exists()


def test_shoulders_carry_their_grade_into_the_data_list(tmp_path):
    request = PhantomRequest(tmp_path / "shoulders", count=3, seed=4, anatomy="shoulder", grades=(0, 4, 2))
    folders = write_phantoms(request)
    table = json.loads((tmp_path / "shoulders" / "datalist.json").read_text())
    assert [row["grade"] for row in table["training"] + table["validation"]] == [0, 4, 2]
    for folder in folders:
        image = read_volume(folder / "image.nii.gz", modality="MR")
        labels = read_label_map(folder / "labels.nii.gz", read_label_schema("supraspinatus_mri"))
        assert image.grid.same_as(labels.grid)
        assert set(np.unique(labels.array)) == {0, 1, 2, 3, 4}


def test_a_shoulder_reads_back_from_dicom_as_the_same_image(tmp_path):
    shoulder = {"anatomy": "shoulder", "seed": 2, "slices": 4}
    (nifti,) = write_phantoms(PhantomRequest(tmp_path / "nifti", **shoulder))
    (dicom,) = write_phantoms(PhantomRequest(tmp_path / "dicom", image_format="dicom", **shoulder))
    there = read_volume(nifti / "image.nii.gz", modality="MR")
    here = read_volume(dicom / "dicom", modality="MR")
    assert here.grid.same_as(there.grid)
    assert np.array_equal(here.array, there.array)


def test_shoulders_of_other_grades_are_other_phantoms(tmp_path):
    write_phantoms(PhantomRequest(tmp_path / "shoulders", anatomy="shoulder", grades=(1,)))
    with pytest.raises(OutputError, match="--overwrite"):
        write_phantoms(PhantomRequest(tmp_path / "shoulders", anatomy="shoulder", grades=(3,)))
    with pytest.raises(OutputError, match="--overwrite"):
        write_phantoms(PhantomRequest(tmp_path / "shoulders"))


def test_abdomens_are_a_slice_or_a_scan_with_levels(tmp_path):
    scan = AbdomenScan(matrix=110, in_plane_mm=4.0, slice_thickness_mm=8.0, sub_slice_mm=8.0, other_sub_slice_mm=8.0)
    fields = {40: (13.0, 17.0), 41: (16.0, 19.0)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            phantom_dataset,
            "make_abdomen_scan",
            lambda seed, volume: replace(scan, volume=volume, top=fields[seed][0], bottom=fields[seed][1]),
        )
        request = PhantomRequest(tmp_path / "scans", 2, 40, anatomy="abdomen", slices=0)
        folders = write_phantoms(request)
        (alone,) = write_phantoms(PhantomRequest(tmp_path / "slices", 1, 40, anatomy="abdomen"))
    table = json.loads((tmp_path / "scans" / "datalist.json").read_text())
    shown, hidden = table["training"] + table["validation"]
    assert shown["case"] == "case_000040" and shown["levels"]["L3"] == pytest.approx(shown["l3_z_mm"], abs=1e-3)
    assert hidden["l3_z_mm"] is None and set(hidden["levels"]) == {"L5", "S1", "S2"}
    labels = read_label_map(folders[0] / "labels.nii.gz", read_label_schema("l3_muscle_ct"))
    assert read_volume(folders[0] / "image.nii.gz").grid.same_as(labels.grid)
    assert not read_label_map(folders[1] / "labels.nii.gz", read_label_schema("l3_muscle_ct")).array.any()
    assert read_volume(alone / "image.nii.gz").grid.shape == (110, 110, 1)
    with (tmp_path / "scans" / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert json.loads(rows[0]["level_z_mm"]) == shown["levels"] and rows[1]["sma_cm2"] == ""


def test_an_abdomen_reads_back_from_dicom_as_the_same_image(tmp_path, monkeypatch):
    scan = AbdomenScan(volume=True, matrix=110, in_plane_mm=4.0, slice_thickness_mm=8.0, top=14.0, bottom=16.0)
    monkeypatch.setattr(phantom_dataset, "make_abdomen_scan", lambda seed, volume: scan)
    whole = {"seed": 2, "anatomy": "abdomen", "slices": 0}
    (nifti,) = write_phantoms(PhantomRequest(tmp_path / "nifti", **whole))
    (dicom,) = write_phantoms(PhantomRequest(tmp_path / "dicom", image_format="dicom", **whole))
    here, there = read_volume(dicom / "dicom"), read_volume(nifti / "image.nii.gz")
    assert here.array.mean() == pytest.approx(there.array.mean())
    middle = np.array([*(np.array(there.grid.shape) - 1) / 2, 1])
    assert here.grid.affine @ middle == pytest.approx(there.grid.affine @ middle, abs=0.01)


def test_bone_phantoms_carry_their_density_into_the_data_list(tmp_path, monkeypatch):
    scan = BoneScan(matrix=110, in_plane_mm=4.0, slice_thickness_mm=8.0, top=12.0, bottom=13.6)
    monkeypatch.setattr(phantom_dataset, "make_bone_scan", lambda seed: scan)
    request = PhantomRequest(tmp_path / "chests", 2, 3, anatomy="bone", qct_phantom="k2hpo4")
    first, second = write_phantoms(request)
    table = json.loads((tmp_path / "chests" / "datalist.json").read_text())
    rows = table["training"] + table["validation"]
    for folder, row in zip((first, second), rows, strict=True):
        truth = json.loads((folder / "truth.json").read_text())
        assert row["bmd_mg_cm3"] == truth["bmd_mg_cm3"] and row["levels"] == truth["levels"]
        assert [rod["density_mg_cm3"] for rod in truth["qct_phantom"]["rods"]] == [0, 50, 100, 200]
        labels = read_label_map(folder / "labels.nii.gz", read_label_schema("bone_density_ct"))
        assert read_volume(folder / "image.nii.gz").grid.same_as(labels.grid)
        assert {5, 6, 10, 11, 13} <= set(np.unique(labels.array).tolist())
    with (tmp_path / "chests" / "truth.csv").open() as file:
        assert json.loads(next(csv.DictReader(file))["reference_levels"]) == ["L1", "L2"]
    with pytest.raises(OutputError, match="--overwrite"):
        write_phantoms(PhantomRequest(tmp_path / "chests", 2, 3, anatomy="bone"))


SMALL_SPINE = LumbarScan(matrix=96, spacing_mm=2.4, slices=3)


def test_a_lumbar_spine_has_its_discs_in_the_truth_and_its_patient_in_the_data_list(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_dataset, "make_lumbar_scan", lambda seed: SMALL_SPINE)
    folders = write_phantoms(PhantomRequest(tmp_path / "spines", 2, 5, anatomy="lumbar"))
    table = json.loads((tmp_path / "spines" / "datalist.json").read_text())
    rows = table["training"] + table["validation"]
    assert [row["patient"] for row in rows] == ["PHANTOM-000005", "PHANTOM-000006"]
    for folder in folders:
        labels = read_label_map(folder / "labels.nii.gz", read_label_schema("lumbar_disc_mr"))
        assert read_volume(folder / "image.nii.gz", modality="MR").grid.same_as(labels.grid)
        assert set(np.unique(labels.array)) == {0, 1, 2, 3, 4, 5}
        discs = json.loads((folder / "truth.json").read_text())["discs"]
        assert list(discs) == ["L1-L2", "L2-L3", "L3-L4", "L4-L5", "L5-S1"]
        assert all(1 <= disc["pfirrmann"] <= 5 and disc["area_mm2"] > 50 for disc in discs.values())


def test_axial_discs_of_one_person_stay_on_one_side_of_the_data_list(tmp_path, monkeypatch):
    monkeypatch.setattr(
        phantom_dataset,
        "make_lumbar_scan",
        lambda seed, plane, level, slices: replace(SMALL_SPINE, plane=plane, level=level, slices=slices),
    )
    request = PhantomRequest(tmp_path / "discs", 3, anatomy="lumbar", plane="axial", slices=1)
    folders = write_phantoms(request)
    assert [folder.name for folder in folders[:3]] == [f"case_000000_{level}" for level in ("l3_l4", "l4_l5", "l5_s1")]
    table = json.loads((tmp_path / "discs" / "datalist.json").read_text())
    training, validation = ({row["patient"] for row in table[part]} for part in ("training", "validation"))
    assert (len(table["training"]), len(table["validation"])) == (6, 3)
    assert not training & validation
    assert [row["level"] for row in table["validation"]] == ["L3-L4", "L4-L5", "L5-S1"]
    with pytest.raises(OutputError, match="--overwrite"):
        write_phantoms(PhantomRequest(tmp_path / "discs", 3, anatomy="lumbar"))


def test_a_lumbar_spine_reads_back_from_dicom_as_the_same_image(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_dataset, "make_lumbar_scan", lambda seed: SMALL_SPINE)
    (nifti,) = write_phantoms(PhantomRequest(tmp_path / "nifti", anatomy="lumbar"))
    (dicom,) = write_phantoms(PhantomRequest(tmp_path / "dicom", anatomy="lumbar", image_format="dicom"))
    there = read_volume(nifti / "image.nii.gz", modality="MR")
    here = read_volume(dicom / "dicom", modality="MR", across="LR")
    assert here.grid.same_as(there.grid)
    assert np.array_equal(here.array, there.array)


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipe": "magic"},
        {"image_format": "png"},
        {"count": 0},
        {"recipe": "training", "image_format": "dicom"},
        {"anatomy": "elbow"},
        {"anatomy": "shoulder", "recipe": "training"},
        {"anatomy": "shoulder", "slices": 0},
        {"anatomy": "shoulder", "grades": (1, 2)},
        {"anatomy": "shoulder", "grades": (5,)},
        {"slices": 3},
        {"anatomy": "abdomen", "slices": 7},
        {"anatomy": "abdomen", "recipe": "training"},
        {"anatomy": "abdomen", "grades": (1,)},
        {"grades": (1,)},
        {"anatomy": "bone", "slices": 2},
        {"anatomy": "bone", "recipe": "training"},
        {"anatomy": "bone", "qct_phantom": "wax"},
        {"anatomy": "abdomen", "qct_phantom": "ha"},
        {"plane": "axial"},
        {"anatomy": "lumbar", "plane": "coronal"},
        {"anatomy": "lumbar", "slices": 3},
        {"anatomy": "lumbar", "plane": "axial", "slices": 0},
        {"anatomy": "lumbar", "recipe": "training"},
        {"anatomy": "lumbar", "grades": (1,)},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(tmp_path, wrong):
    with pytest.raises(InputError):
        PhantomRequest(tmp_path / "people", **wrong)
