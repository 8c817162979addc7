"""Slices are read once, lie on the working plane, and are drawn by seed, rare grades more often."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from myotome.errors import InputError
from myotome.training import PlaneDataset, PlaneSampling, read_datalist

SAGITTAL = np.array([[0, 0, 4.0, 0], [-0.6, 0, 0, 0], [0, -0.6, 0, 0], [0, 0, 0, 1]])


def write_case(folder, name: str, grade: int | None, slices: int = 1) -> dict:
    """A square of label 1 in the middle slice; a pixel's intensity is 100 in it, 50 beside it, 10 elsewhere."""
    image, label = np.full((64, 64, slices), 10, np.int16), np.zeros((64, 64, slices), np.uint8)
    label[20:40, 10:30, slices // 2] = 1
    image[40:60] = 50
    image[label == 1] = 100
    for kind, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, SAGITTAL), folder / f"{name}_{kind}.nii")
    row = {"image": f"{name}_image.nii", "label": f"{name}_label.nii"}
    return row if grade is None else {**row, "grade": grade}


def read(folder, rows: list[dict]) -> list[dict]:
    (folder / "datalist.json").write_text(json.dumps({"training": rows}))
    return read_datalist(folder / "datalist.json", "training")


def test_a_grade_in_a_data_list_is_no_path(tmp_path):
    (row,) = read(tmp_path, [write_case(tmp_path, "a", 3)])
    assert row["grade"] == 3 and row["image"] == str(tmp_path / "a_image.nii")


def test_a_slice_lies_in_the_middle_of_the_plane_scaled(tmp_path):
    sample = PlaneDataset(read(tmp_path, [write_case(tmp_path, "a", 2)]), sampling=PlaneSampling(size=96))[0]
    assert sample["image"].shape == sample["label"].shape == (1, 96, 96)
    rows, columns = torch.nonzero(sample["label"][0], as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (26, 45, 36, 55)  # (96 - 64) / 2 further
    image = sample["image"][0]
    assert image[30, 40] == 1 and image[20, 20] == 0 and image[60, 60] == pytest.approx(4 / 9, abs=1e-3)
    assert image[:16].max() == 0  # outside
    assert sample["grade"] == 2


def test_a_sample_depends_on_its_number_alone(tmp_path):
    rows = read(tmp_path, [write_case(tmp_path, name, grade) for name, grade in (("a", 0), ("b", 1), ("c", 4))])
    data = PlaneDataset(rows, length=20, seed=5, sampling=PlaneSampling(size=64))
    first = [(int(data[n]["grade"]), int(data[n]["seed"])) for n in range(20)]
    assert len({seed for _, seed in first}) == 20
    data.start = 12
    assert len(data) == 8
    assert [(int(data[n]["grade"]), int(data[n]["seed"])) for n in range(8)] == first[12:]


def test_rare_grades_come_more_often_and_weigh_less(tmp_path):
    rows = read(tmp_path, [write_case(tmp_path, f"case{n}", 4 if n == 0 else 0) for n in range(10)])
    data = PlaneDataset(rows, length=2000, sampling=PlaneSampling(size=64, balance=1.0))
    grades, weights = zip(*((int(data[n]["grade"]), float(data[n]["weight"])) for n in range(2000)), strict=True)
    assert 900 < grades.count(4) < 1100
    assert dict(zip(grades, weights, strict=True)) == pytest.approx({4: 0.2, 0: 1.8})
    assert np.mean(weights) == pytest.approx(1.0, abs=0.05)


def test_unlabelled_slices_of_a_volume_are_shown_and_have_no_grade(tmp_path):
    rows = read(tmp_path, [write_case(tmp_path, "a", 2, slices=9)])
    shown = PlaneDataset(rows, sampling=PlaneSampling(size=64))
    assert len(shown) == 1 and shown[0]["label"].any()
    data = PlaneDataset(rows, length=200, sampling=PlaneSampling(size=64, empty_share=0.25, empty_mm=12.0))
    samples = [data[n] for n in range(200)]
    empty = [sample for sample in samples if not sample["label"].any()]
    assert 30 < len(empty) < 70
    assert {int(sample["grade"]) for sample in empty} == {-1}
    assert {int(sample["grade"]) for sample in samples if sample["label"].any()} == {2}


def test_what_is_prepared_takes_the_place_of_the_labels(tmp_path):
    rows = read(tmp_path, [write_case(tmp_path, "a", None)])

    def prepare(planes):
        return {"label": torch.full_like(planes.label, 3), "teacher": torch.arange(14.0)[None]}

    sample = PlaneDataset(rows, sampling=PlaneSampling(size=64), prepare=prepare)[0]
    assert (sample["label"] == 3).all() and sample["label"].shape == (1, 64, 64)
    assert sample["teacher"].tolist() == list(range(14)) and sample["grade"] == -1


def test_an_empty_list_and_unequal_shapes_are_refused(tmp_path):
    with pytest.raises(InputError, match="data list is empty"):
        PlaneDataset([])
    row = write_case(tmp_path, "a", 0)
    nib.save(nib.Nifti1Image(np.zeros((5, 5, 1), np.uint8), SAGITTAL), tmp_path / "a_label.nii")
    with pytest.raises(InputError, match="differ in shape"):
        PlaneDataset(read(tmp_path, [row]))[0]


AXIAL = np.diag([-1.5, -1.5, 5.0, 1.0])


def write_ct(folder, name: str, slices: int = 5) -> dict:
    """Soft tissue of 50 HU + 10 HU a slice in air; slice 3 has most muscle and unknown pixels, slice 1 a little."""
    image, label = np.full((96, 96, slices), -1000, np.int16), np.zeros((96, 96, slices), np.uint8)
    image[10:86, 20:76] = 50 + 10 * np.arange(slices)
    label[30:60, 30:60, 3 % slices], label[30:40, 30:60, 1 % slices] = 1, 1
    label[30:40, 30:60, 3 % slices] = 255
    for kind, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, AXIAL), folder / f"{name}_{kind}.nii")
    return {"image": f"{name}_image.nii", "label": f"{name}_label.nii"}


CT = {"spacing_mm": 1.5, "size": 96, "view": "axial", "window_hu": (-150, 250), "ignored": 255}


def test_the_slice_with_most_labels_is_taken_or_the_one_that_is_named(tmp_path):
    row = write_ct(tmp_path, "a")
    data = PlaneDataset(read(tmp_path, [row, {**row, "slice": 1}]), sampling=PlaneSampling(**CT))
    assert [float(data[n]["image"][0, 40, 40]) for n in (0, 1)] == pytest.approx([230 / 400, 210 / 400], abs=1e-3)
    assert [int((data[n]["label"] == 1).sum()) for n in (0, 1)] == [600, 300]
    assert [int((data[n]["label"] == 255).sum()) for n in (0, 1)] == [300, 0]


def test_slices_of_images_without_labels_are_spread_over_them(tmp_path):
    row = write_ct(tmp_path, "a")
    data = PlaneDataset(read(tmp_path, [{"image": row["image"]}]), sampling=PlaneSampling(**CT, slices_per_image=3))
    assert len(data) == 3 and not any(data[n]["label"].any() for n in range(3))
    seen = [float(data[n]["image"][0, 40, 40]) for n in range(3)]
    assert seen == pytest.approx([200 / 400, 220 / 400, 240 / 400], abs=1e-3)
    one = PlaneDataset(read(tmp_path, [{"image": row["image"]}]), sampling=PlaneSampling(**CT))
    assert len(one) == 1 and float(one[0]["image"][0, 40, 40]) == pytest.approx(220 / 400, abs=1e-3)


def test_a_wide_body_is_shown_whole(tmp_path):
    rows = read(tmp_path, [write_ct(tmp_path, "a")])
    shown = PlaneDataset(rows, sampling=PlaneSampling(**{**CT, "size": 48}, whole_body=True))[0]["image"][0]
    assert shown[24].min() == 0 and not shown[:, 0].any() and not shown[:, -1].any()  # 114 mm, and margins, in 72 mm
    assert int((shown[24] > 0).sum()) == pytest.approx(76 * 48 / (76 + 2 * 12 / 1.5), abs=3)


def test_what_is_null_is_no_part_of_a_batch(tmp_path):
    (tmp_path / "datalist.json").write_text(json.dumps({"testing": [{"image": "a.nii", "l3_z_mm": None}]}))
    path = tmp_path / "datalist.json"
    assert read_datalist(path, "testing")[0]["l3_z_mm"] is None
    assert read_datalist(path, "testing", drop_null=True) == [{"image": str(tmp_path / "a.nii")}]


def test_slices_between_the_first_and_last_body_come_with_their_neighbours(tmp_path):
    image, label = np.full((96, 96, 9), -1000, np.int16), np.zeros((96, 96, 9), np.uint8)
    image[20:76, 20:76] = 10 * np.arange(9)
    label[30:50, 30:50, 2], label[30:50, 30:50, 6] = 7, 8
    label[60:70, 30:50] = 9
    for name, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, AXIAL), tmp_path / f"{name}.nii")
    rows = read(tmp_path, [{"image": "image.nii", "label": "label.nii"}])
    settings = {**CT, "spanned": (7, 8), "merged": (0, *(1,) * 8, 2), "slices_per_image": 3}
    sampling = PlaneSampling(**settings, neighbour_mm=5.0)
    data = PlaneDataset(rows, sampling=sampling)
    assert len(data) == 3  # slices 2, 4 and 6
    for number, index in enumerate((2, 4, 6)):
        sample = data[number]
        assert sample["image"].shape == (3, 96, 96) and sample["label"].shape == (1, 96, 96)
        expected = [(150 + 10 * at) / 400 for at in (index - 1, index, index + 1)]  # below, here, above
        assert sample["image"][:, 40, 40].tolist() == pytest.approx(expected, abs=1e-3)
        assert int((sample["label"] == 1).sum()) == (0 if index == 4 else 400)
        assert int((sample["label"] == 2).sum()) == 200
    turned = np.diag([-1.5, -1.5, -5.0, 1.0])  # the same file, stored from above downwards
    for name, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, turned), tmp_path / f"{name}.nii")
    first = PlaneDataset(rows, sampling=sampling)[0]["image"]
    assert first[:, 40, 40].tolist() == pytest.approx([(150 + 10 * at) / 400 for at in (3, 2, 1)], abs=1e-3)
    apart = PlaneDataset(rows, sampling=PlaneSampling(**settings, neighbour_mm=11.0))[0]["image"]
    assert apart[0, 40, 40] == pytest.approx((150 + 40) / 400, abs=1e-3)  # two slices are nearest to 11 mm


def test_a_list_without_any_wanted_label_is_refused(tmp_path):
    rows = read(tmp_path, [write_ct(tmp_path, "a")])
    with pytest.raises(InputError, match="shows one of the labels that are learned"):
        PlaneDataset(rows, sampling=PlaneSampling(**CT, spanned=(4,), slices_per_image=3))[0]
