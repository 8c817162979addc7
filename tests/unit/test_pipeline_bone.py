"""Bone density through the pipeline: what is refused at the door, and what a case leaves behind."""

import json
from dataclasses import replace

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.pipeline.bone_density import BONE_DENSITY, require_bone_ct
from myotome.pipeline.case import measure_label_map
from myotome.pipeline.kinds import kind_of
from myotome.pipeline.outputs import write_case
from myotome.report.flag_meanings import describe_flag
from tests.unit.biomarkers.spines import Spine, make_spine


@pytest.fixture(scope="module")
def case():
    return make_spine(Spine(noise_hu=20, crushed={"T12": 0.5}))


def test_the_schema_has_its_kind():
    assert kind_of("bone_density_ct") is BONE_DENSITY
    assert BONE_DENSITY.modality == "CT"
    assert not BONE_DENSITY.one_level


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda volume: Volume(volume.array, volume.grid, "MR"), "this image is MR: give the CT series"),
        (lambda volume: replace(volume, array=volume.array + 1100), "not in Hounsfield units"),
        (
            lambda volume: replace(volume, array=volume.array[..., :2], grid=Grid((150, 120, 2), volume.grid.affine)),
            "too few",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_at_the_door(case, change, sentence):
    with pytest.raises(InputError, match=sentence):
        require_bone_ct(change(case[0]))


def test_slices_that_are_not_axial_are_refused(case):
    volume = case[0]
    turned = np.diag([1.5, 0, 0, 1.0])
    turned[1, 2], turned[2, 1] = 3.0, 1.5
    with pytest.raises(InputError, match="90 degrees from axial"):
        require_bone_ct(Volume(volume.array, Grid(volume.grid.shape, turned)))


def test_a_case_leaves_its_values_reasons_and_flags(case, tmp_path):
    result = measure_label_map(*case, source="scan.nii.gz")
    write_case(tmp_path / "out", case[0], result)
    document = json.loads((tmp_path / "out" / "measurements.json").read_text())
    rows = {(row["level"] or row["structure"], row["measure"]): row for row in document["measurements"]}
    assert rows["vertebral_column", "bmd"]["structure_code"] == "SCT:421060004"
    assert rows["L1", "bmd"]["structure_code"] == "SCT:61032001"
    assert rows["L1", "bmd"]["lower"] < 130 < rows["L1", "bmd"]["upper"]
    assert rows["T12", "bmd"]["value"] is None
    assert "fractured" in rows["T12", "bmd"]["flags"]
    assert "levels_fractured:T12" in document["flags"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "labels.nii.gz", "measurements.csv", "measurements.json", "overview.png", "report.html",
    }  # fmt: skip


def test_every_flag_has_a_sentence(case):
    result = measure_label_map(*case)
    flags = {*result.flags, *(flag for row in result.measurements for flag in row.flags)}
    tissues = ("fat", "muscle", "blood", "air", "cortical_bone")
    flags |= {f"{tissue}_{what}" for tissue in tissues for what in ("missing", "too_small", "implausible")}
    for flag in flags | {
        "metal_near",
        "slope_impossible",
        "levels_unsure",
        "class_withheld_thoracic",
        "no_whole_vertebra",
    }:
        words = flag.partition(":")[0].replace("_", " ")
        assert not describe_flag(flag).lower().startswith(words), flag
    assert describe_flag("levels_used:L1, L2") == "The mean density is of these vertebral bodies: L1, L2."
