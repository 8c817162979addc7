"""The gate can fail: each thing that makes a calibration wrong gives no number, and says why."""

from dataclasses import replace

import pytest

from myotome.biomarkers.bone_density import CalibrationRefused, calibrate, read_bone_density_settings
from myotome.biomarkers.bone_density.gate import blood_is_enhanced
from tests.unit.biomarkers.bone_density.tissues import make_references, with_voxels

SHIPPED = read_bone_density_settings()
SETTINGS = replace(SHIPPED, multi_tissue=replace(SHIPPED.multi_tissue, references=("air", "fat", "blood", "muscle")))
METHODS = ["two_tissue", "multi_tissue"]


def with_metal(references):
    return replace(references, metal=True)


def with_header(references):
    return replace(references, contrast_recorded=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("references", "reason", "words"),
    [
        (make_references(fat=None), "fat_missing", "Of subcutaneous fat there are 0 voxels"),
        (with_voxels(make_references(), "muscle", 40), "muscle_too_small", "40 voxels, and 200 are needed"),
        (make_references(fat=-20), "fat_implausible", "has -20 HU"),
        (make_references(muscle=-30), "muscle_implausible", "has -30 HU"),
        (make_references(blood=180), "contrast_suspected", "180 HU"),
        (make_references(blood=85, muscle=45), "contrast_suspected", "contrast agent"),
        (with_header(make_references()), "contrast_suspected", "header names a contrast agent"),
        (with_metal(make_references()), "metal_near", "streaks"),
        (make_references(scale=1.25), "air_implausible", "-1250 HU"),
        (make_references(scale=0.8), "air_implausible", "-800 HU"),
        (make_references(offset_hu=1024), "fat_implausible", "916 HU"),
        (make_references(scale=-1), "fat_implausible", "108 HU"),
        (make_references(fat=-145, muscle=95), "slope_impossible", "240 HU above"),
        (make_references(fat=-60, muscle=10), "slope_impossible", "70 HU above"),
        (make_references(air=-925, blood=20, muscle=30), "slope_impossible", "lies 945 HU above"),
    ],
)
def test_a_broken_calibration_gives_no_number(method, references, reason, words):
    refused = calibrate(references, method, SETTINGS)
    assert isinstance(refused, CalibrationRefused)
    assert reason in refused.reasons
    assert words in refused.sentence
    assert refused.method == method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [0.98, 1.0, 1.02])
@pytest.mark.parametrize("offset", [-15, 0, 15])
@pytest.mark.parametrize(("voltage", "energy"), [(80, 54), (120, 68), (140, 74)])
def test_a_scanner_within_its_usual_drift_passes(method, scale, offset, voltage, energy):
    references = make_references(energy, scale=scale, offset_hu=offset, tube_voltage_kv=voltage)
    assert not isinstance(calibrate(references, method, SETTINGS), CalibrationRefused)


def test_references_that_disagree_give_no_number():
    tight = replace(SETTINGS.references.tissues["blood"], between_people_hu=1.0)
    references = replace(SETTINGS.references, tissues=dict(SETTINGS.references.tissues) | {"blood": tight})
    refused = calibrate(make_references(blood=12.0), "multi_tissue", replace(SETTINGS, references=references))
    assert isinstance(refused, CalibrationRefused)
    assert refused.reasons == ("references_disagree",)
    assert "SD off the line" in refused.sentence


def test_soft_tissues_alone_do_not_tell_the_energy():
    free = replace(
        SETTINGS, multi_tissue=replace(SETTINGS.multi_tissue, search="free", references=("blood", "muscle", "air"))
    )
    refused = calibrate(make_references(), "multi_tissue", free)
    assert isinstance(refused, CalibrationRefused)
    assert refused.reasons == ("energy_not_found",)


def test_every_reference_of_the_set_has_to_pass():
    """Blood is needed by the multi-tissue method alone, and muscle by the other alone."""
    references = make_references(blood=None)
    assert calibrate(references, "multi_tissue", SHIPPED).reasons == ("blood_missing",)
    assert not isinstance(calibrate(references, "two_tissue", SHIPPED), CalibrationRefused)
    references = make_references(muscle=None)
    assert calibrate(references, "two_tissue", SHIPPED).reasons == ("muscle_missing",)
    assert not isinstance(calibrate(references, "multi_tissue", SHIPPED), CalibrationRefused)


def test_contrast_agent_is_flagged_where_a_site_says_so_but_blood_is_no_reference_then():
    flagging = replace(SETTINGS, contrast="flag")
    enhanced = make_references(blood=180)
    assert not isinstance(calibrate(enhanced, "two_tissue", flagging), CalibrationRefused)
    assert calibrate(enhanced, "multi_tissue", flagging).reasons == ("contrast_suspected",)


def test_enhancement_is_seen_beside_muscle_whatever_the_offset():
    assert blood_is_enhanced(make_references(blood=82, offset_hu=-15), SETTINGS) is False
    assert blood_is_enhanced(make_references(blood=90, muscle=50, offset_hu=-15), SETTINGS)
    assert not blood_is_enhanced(make_references(offset_hu=15), SETTINGS)
    assert not blood_is_enhanced(with_voxels(make_references(blood=200), "blood", 3), SETTINGS)
