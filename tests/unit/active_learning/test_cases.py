"""A case is reduced to slices whose content is known, once, and read again only when it has changed."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from myotome.active_learning import cases
from myotome.active_learning.cases import PhantomPool, Reduction, make_phantom_cases, read_cases, reduce_case
from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.io import write_label_map, write_volume
from myotome.structures import LabelMap, read_label_schema

AFFINE = np.diag([1.0, 1.0, 5.0, 1.0])


def make_case(codes=(1, 1, 1)) -> tuple[Volume, LabelMap]:
    """A body of 40 HU, 60 x 48 x 6 voxels, with a block of label 2 and 80 HU; each slice one HU more than the last."""
    hu = np.full((100, 80, 6), -1000, np.int16)
    hu[20:80, 16:64] = 40
    hu[32:56, 28:52] = 80
    hu += np.arange(6, dtype=np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[32:56, 28:52] = 2
    turn = tuple(slice(None, None, code) for code in codes)
    affine = AFFINE @ np.diag([*codes, 1])
    affine[:3, 3] = [
        0 if code > 0 else (size - 1) * step for code, size, step in zip(codes, hu.shape, (1, 1, 5), strict=True)
    ]
    grid = Grid(hu.shape, affine)
    return Volume(hu[turn].copy(), grid, "CT"), LabelMap(labels[turn].copy(), grid, read_label_schema())


def write_data(folder, count=2, **more) -> None:
    rows = []
    for number in range(count):
        volume, label_map = make_case()
        place = folder / f"case_{number}"
        place.mkdir(parents=True)
        write_volume(place / "image.nii", volume)
        write_label_map(place / "labels.nii", label_map)
        rows.append({"image": f"case_{number}/image.nii", "label": f"case_{number}/labels.nii", **more})
    (folder / "datalist.json").write_text(json.dumps({"training": rows[:1], "validation": rows[1:]}))


@pytest.mark.parametrize("codes", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_evenly_spread_slices_from_low_to_high_cropped_to_the_body(codes):
    """Body of 60 x 48 mm and a margin of 12 mm at 3 mm: 28 x 24 pixels. Of six slices the second and the fifth."""
    hu, labels = reduce_case(*make_case(codes), Reduction(slices=2, spacing_mm=3.0))
    assert hu.shape == labels.shape == (2, 28, 24)
    assert (hu.dtype, labels.dtype) == (np.int16, np.uint8)
    assert [int(plane[6, 14]) for plane in hu] == [41, 44]
    assert [int(plane[12, 12]) for plane in hu] == [81, 84]
    assert np.count_nonzero(labels[0]) == pytest.approx(24 * 24 / 9, abs=0)
    assert set(labels.ravel()) == {0, 2}


def test_nothing_is_resampled_at_the_images_own_spacing():
    volume, label_map = make_case()
    hu, labels = reduce_case(volume, label_map, Reduction(slices=6, spacing_mm=1.0))
    assert np.array_equal(hu, np.moveaxis(volume.array[8:92, 4:76], 2, 0))
    assert np.array_equal(labels, np.moveaxis(label_map.array[8:92, 4:76], 2, 0))


def test_more_slices_than_there_are_give_every_one():
    assert len(reduce_case(*make_case(), Reduction(slices=50))[0]) == 6


def test_a_data_set_is_read_once_and_what_has_changed_again(tmp_path, monkeypatch):
    write_data(tmp_path / "data", 3)
    reads = []
    monkeypatch.setattr(cases, "read_volume", lambda path, read=cases.read_volume: reads.append(path) or read(path))
    told = []
    settings = (tmp_path / "data", Reduction(2), tmp_path / "cache")
    first = read_cases(*settings, progress=lambda *share: told.append(share))
    again = read_cases(*settings)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert len(reads) == 3
    assert [case.case_id for case in again] == [f"case_{n}/image.nii" for n in range(3)]
    assert len({case.patient for case in again}) == 3
    assert all(
        np.array_equal(a.hu, b.hu) and np.array_equal(a.labels, b.labels) for a, b in zip(first, again, strict=True)
    )
    os.utime(tmp_path / "data" / "case_1" / "labels.nii", ns=(1, 1))
    read_cases(*settings)
    assert [path.parent.name for path in reads[3:]] == ["case_1"]
    read_cases(settings[0], Reduction(3), settings[2])
    assert len(reads) == 7


def test_several_images_of_one_person_are_one_patient(tmp_path):
    write_data(tmp_path / "data", 2, patient="anna")
    assert {case.patient for case in read_cases(tmp_path / "data", Reduction(2), tmp_path / "cache")} == {"anna"}


def test_a_data_set_without_a_list_or_with_a_missing_image_is_refused(tmp_path):
    with pytest.raises(InputError, match="no readable data list"):
        read_cases(tmp_path, Reduction(), tmp_path / "cache")
    write_data(tmp_path / "data", 2)
    (tmp_path / "data" / "case_1" / "image.nii").unlink()
    with pytest.raises(InputError, match=r"image.nii is listed but cannot be read"):
        read_cases(tmp_path / "data", Reduction(), tmp_path / "cache")


def test_phantoms_are_drawn_once_on_the_coarse_grid_and_hold_muscle(tmp_path, monkeypatch):
    pool, reduction = PhantomPool(count=1, seed=3, thickness_mm=60.0), Reduction(slices=4, spacing_mm=8.0)
    (case,) = make_phantom_cases(pool, reduction, tmp_path)
    monkeypatch.setattr(cases, "make_thorax", None)
    (again,) = make_phantom_cases(pool, reduction, tmp_path)
    assert np.array_equal(case.hu, again.hu)
    assert case.case_id == "case_000003"
    assert len(case.hu) == 4
    assert np.count_nonzero(case.labels == 4) > 50
    assert 0 < np.median(case.hu[case.labels == 4]) < 120


@pytest.mark.parametrize("wrong", [{"slices": 0}, {"spacing_mm": 0}])
def test_a_reduction_to_nothing_is_refused(wrong):
    with pytest.raises(InputError, match="cannot be made"):
        Reduction(**wrong)
