"""The abdomen phantom: replayable, of the areas it was asked for, and true to what it says of itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from myotome.errors import InputError
from myotome.phantoms.abdomen import AbdomenScan, make_abdomen, make_abdomen_person, make_abdomen_scan
from myotome.phantoms.abdomen.anatomy import AbdomenAnatomy, polygon_cm2
from myotome.phantoms.abdomen.drawing import SectionDrawer
from myotome.phantoms.abdomen.painting import FAT_IN_MUSCLE, MUSCLE, SUBCUTANEOUS, Fatness, Frame, Painting, azimuths
from myotome.phantoms.abdomen.spine import SpineLevels
from myotome.phantoms.abdomen.tissues import compute_tissue_hu
from myotome.phantoms.abdomen.truth import measure_labels
from myotome.phantoms.canvas import Canvas
from myotome.phantoms.infiltration import Texture

# Nothing between the drawing and the image: no blur to speak of, no noise, no table, one plane per slice.
CLEAN = AbdomenScan(
    matrix=300, in_plane_mm=1.5, noise_hu=0.0, blur_mm=0.05, table=False, sub_slice_mm=5.0, contrast="none"
)
WHOLE = replace(CLEAN, volume=True, matrix=130, in_plane_mm=3.6, slice_thickness_mm=4.0, top=9.8, bottom=19.0)


def healthy(first: int, count: int, start: int = 0) -> list[int]:
    """Seeds of people without scoliosis, surgery or metal."""
    seeds = (seed for seed in range(first, first + 500) if make_abdomen_person(seed).condition in ("none", "wasted"))
    return [next(seeds) for _ in range(start + count)][start:]


@pytest.fixture(scope="module")
def case():
    return make_abdomen(7, CLEAN)


@pytest.fixture(scope="module")
def whole():
    return make_abdomen(7, WHOLE)


def test_same_seed_gives_the_same_bytes(case):
    again = make_abdomen(7, CLEAN)
    assert again.volume.array.tobytes() == case.volume.array.tobytes()
    assert again.label_map.array.tobytes() == case.label_map.array.tobytes()
    assert again.truth == case.truth


def test_image_and_labels_are_one_axial_slice(case):
    assert case.volume.grid.shape == (300, 300, 1)
    assert case.volume.grid.axis_codes == ("R", "A", "S")
    assert case.volume.grid.affine[2, 3] == pytest.approx(case.truth["l3_z_mm"])
    assert set(np.unique(case.label_map.array)) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("seed", healthy(0, 6))
def test_drawn_areas_are_those_that_the_person_was_given(seed):
    """Muscle and its fat fill the outlines that were solved for; bone takes a little off psoas and back muscles."""
    person, truth = make_abdomen_person(seed), make_abdomen(seed, CLEAN).truth
    flesh = truth["sma_tissue_cm2"] + truth["imat_tissue_cm2"]
    assert flesh == pytest.approx(person.muscle_cm2, rel=0.07)
    assert truth["sat_tissue_cm2"] == pytest.approx(person.subcutaneous_cm2, rel=0.15, abs=18)
    assert truth["vat_tissue_cm2"] == pytest.approx(person.visceral_cm2, rel=0.3, abs=45)


@pytest.mark.parametrize("seed", healthy(0, 3))
def test_outlines_have_the_areas_they_were_scaled_to(seed):
    """Shoelace for the back muscles, and for the wall the integral of its thickness along the cavity."""
    anatomy = AbdomenAnatomy(make_abdomen_person(seed))
    trunk = anatomy.trunk(15.0)
    for name in ("psoas", "erector_spinae", "quadratus_lumborum"):
        drawn = polygon_cm2(trunk.back[(name, 1)]) + polygon_cm2(trunk.back[(name, -1)])
        assert drawn == pytest.approx(anatomy.muscle_cm2[name], rel=0.12)
    step = azimuths()[1] - azimuths()[0]
    for name, layers in (("lateral", trunk.lateral), ("rectus", (trunk.rectus,))):
        rings = sum(
            np.sum((trunk.cavity + la.high / trunk.slope) ** 2 - (trunk.cavity + la.low / trunk.slope) ** 2)
            for la in layers
        )
        assert 0.5 * rings * step / 100 == pytest.approx(anatomy.muscle_cm2[name], rel=0.05)


def test_a_muscle_holds_the_fat_it_was_given():
    """A disc of 30 mm with 15 % of streaks and nothing finer: area, share of fat and mean density are known."""
    axis = np.arange(-50, 50, 0.5)
    person = make_abdomen_person(3)
    tissues = compute_tissue_hu(person, "none", 120.0)
    painting = Painting(Canvas(axis, axis), Frame(0.0, (0.0, 0.0)), tissues, Texture(3), 0.0)
    disc = painting.oval((0.0, 0.0), (30.0, 30.0))
    painting.muscle(disc.box, disc.cover(), Fatness(0.15, 0.0))
    muscle, fat = (painting.shares[label - 1].sum() * 0.25 for label in (MUSCLE, FAT_IN_MUSCLE))
    assert muscle + fat == pytest.approx(np.pi * 900, rel=0.003)
    assert fat / (muscle + fat) == pytest.approx(0.15, abs=0.003)
    inside = painting.shares[[0, 3]].sum(axis=0) > 0.999
    mean = 0.85 * tissues["muscle"] + 0.15 * tissues["muscle_fat"]
    assert painting.hu[inside].mean() == pytest.approx(mean, abs=2.0)


def test_tissues_lie_at_their_set_points(case):
    """Inside, where no other tissue reaches, the clean image shows what the tissue was set to."""
    person = make_abdomen_person(7)
    tissues = compute_tissue_hu(person, "none", 120.0)
    image, labels = case.volume.array[:, :, 0], case.label_map.array[:, :, 0]
    deep = ndimage.binary_erosion(labels == SUBCUTANEOUS, iterations=3)
    assert np.percentile(image[deep], 20) == pytest.approx(tissues["fat"], abs=2)
    flesh = ndimage.binary_erosion(np.isin(labels, (1, 4)), iterations=3)
    lean = (1 - person.diffuse_fat) * tissues["muscle"] + person.diffuse_fat * tissues["muscle_fat"]
    assert np.median(image[flesh]) == pytest.approx(lean, abs=8)


def test_contrast_agent_and_voltage_do_what_they_do():
    person = make_abdomen_person(5)
    plain, arterial, venous = (compute_tissue_hu(person, phase, 120.0) for phase in ("none", "arterial", "venous"))
    assert arterial["aorta"] > venous["aorta"] + 60 > plain["aorta"] + 100
    assert 4 < venous["muscle"] - plain["muscle"] < 14
    low = compute_tissue_hu(person, "venous", 80.0)
    assert low["aorta"] > venous["aorta"] and low["fat"] == pytest.approx(venous["fat"] - 14)


def test_truth_is_what_the_label_map_gives(case):
    """Without noise and blur, the image itself measured with its labels is the truth."""
    measured = measure_labels(case.label_map.array[:, :, 0], case.volume.array[:, :, 0].astype(float), 1.5)
    for name, value in measured.items():
        assert value == pytest.approx(case.truth[name], rel=1e-3, abs=0.05)
    assert case.truth["nama_cm2"] + case.truth["lama_cm2"] == pytest.approx(case.truth["sma_cm2"])


def test_a_pixel_is_not_filled_twice():
    drawer = SectionDrawer(11, CLEAN)
    shares = drawer.draw(drawer.spine["L3"]).shares
    assert shares.min() >= -1e-5
    assert shares.sum(axis=0).max() <= 1 + 1e-4


def test_area_does_not_depend_on_the_grid():
    truths = [make_abdomen(9, replace(CLEAN, matrix=matrix, in_plane_mm=450 / matrix)).truth for matrix in (300, 500)]
    for name in ("sma_tissue_cm2", "sat_tissue_cm2", "vat_tissue_cm2"):
        assert truths[0][name] == pytest.approx(truths[1][name], rel=0.03)


def test_people_have_the_muscle_and_the_fat_of_published_cohorts():
    """Derstine 2018: in the young, mean less two standard deviations is 144.3 cm2 in men and 92.2 cm2 in women."""
    people = [make_abdomen_person(seed) for seed in range(6000)]
    for sex, cutoff in (("M", 144.3), ("F", 92.2)):
        area = np.array([p.muscle_cm2 for p in people if p.sex == sex and p.age_years < 45 and p.condition == "none"])
        bmi = np.array([p.bmi_kg_m2 for p in people if p.sex == sex and p.age_years < 45 and p.condition == "none"])
        typical = area[np.abs(bmi - 26) < 2]
        assert typical.mean() - 2 * typical.std() == pytest.approx(cutoff, abs=8)
    visceral = {s: np.median([p.visceral_cm2 for p in people if p.sex == s]) for s in "MF"}
    subcutaneous = {s: np.median([p.subcutaneous_cm2 for p in people if p.sex == s]) for s in "MF"}
    assert visceral["M"] > visceral["F"] and subcutaneous["F"] > subcutaneous["M"]


def test_a_whole_scan_is_labelled_in_the_middle_of_l3_alone(whole):
    labelled = np.flatnonzero(whole.label_map.array.any(axis=(0, 1)))
    assert labelled.tolist() == [whole.truth["l3_slice"]]
    z = whole.volume.grid.affine[2, 3] + 4.0 * whole.truth["l3_slice"]
    assert abs(z - whole.truth["level_z_mm"]["L3"]) <= 2.0 + 1e-6


def test_levels_are_those_of_the_drawn_bodies(whole):
    """Along the spine's axis end plates are bright and discs are not: a disc lies between every two levels."""
    names = list(whole.truth["level_z_mm"])
    assert names == ["T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2"]
    seed = healthy(0, 1)[0]
    drawer = SectionDrawer(seed, WHOLE)
    tissues = compute_tissue_hu(drawer.person, "none", 120.0)
    for upper, lower in (("T12", "L1"), ("L1", "L2"), ("L2", "L3"), ("L3", "L4"), ("L4", "L5")):
        between = 0.5 * (drawer.spine[upper] - drawer.spine.half_mm[drawer.spine.names.index(upper)])
        between += 0.5 * (drawer.spine[lower] + drawer.spine.half_mm[drawer.spine.names.index(lower)])
        for z, expected in ((between, tissues["disc"]), (drawer.spine[lower] - 5.0, tissues["marrow"])):
            x, y = drawer.anatomy.spine_mm(drawer.spine.to_u(z))
            place = drawer._frame.to_scanner(np.array([(x, y + 4.0)]))[0]
            hu = drawer.draw(z).hu
            column, row = (
                int(np.argmin(np.abs(axis - p)))
                for axis, p in zip((drawer._canvas.x, drawer._canvas.y), place, strict=True)
            )
            assert hu[column, row] == pytest.approx(expected, abs=0.5 * abs(expected))


def test_a_slice_of_a_scan_is_the_slice_alone():
    """The same person at the same height: areas agree whether L3 is scanned alone or within the whole."""
    for seed in healthy(0, 3):
        whole = make_abdomen(seed, replace(WHOLE, matrix=300, in_plane_mm=1.5, top=14.6, bottom=15.4))
        place = whole.volume.grid.affine[2, 3] + 4.0 * whole.truth["l3_slice"]
        alone = make_abdomen(seed, replace(CLEAN, slice_thickness_mm=4.0, shift_mm=place - whole.truth["l3_z_mm"]))
        for name in ("sma_cm2", "sat_cm2", "vat_cm2", "smd_hu"):
            assert alone.truth[name] == pytest.approx(whole.truth[name], rel=0.002)


def test_a_field_without_l3_has_no_truth_of_it():
    case = make_abdomen(7, replace(WHOLE, top=9.8, bottom=13.4))
    assert case.truth["l3_z_mm"] is None and case.truth["l3_slice"] is None and case.truth["sma_cm2"] is None
    assert "L3" not in case.truth["level_z_mm"] and "T12" in case.truth["level_z_mm"]
    assert not case.label_map.array.any()


@pytest.mark.parametrize("count", [4, 5, 6])
def test_a_transitional_spine_counts_its_own_vertebrae(count):
    seed = next(seed for seed in range(2000) if make_abdomen_person(seed).lumbar_count == count)
    spine = SpineLevels(make_abdomen_person(seed))
    assert [name for name in spine.names if name.startswith("L")] == [f"L{n + 1}" for n in range(count)]
    assert np.all(np.diff(spine.z_mm) < 0)
    assert spine.to_u(spine["T12"]) == pytest.approx(12) and spine.to_u(spine["S1"]) == pytest.approx(18)


def test_some_scans_lack_l3_and_most_are_whole():
    scans = [make_abdomen_scan(seed, volume=True) for seed in range(400)]
    whole = np.mean([scan.top < 11 and scan.bottom > 18 for scan in scans])
    without = np.mean([scan.top > 15.2 or scan.bottom < 14.8 for scan in scans])
    assert 0.55 < whole < 0.75 and 0.03 < without < 0.3


def test_noise_is_of_the_stated_strength_and_does_not_move_the_truth():
    noisy, clean = (make_abdomen(4, replace(CLEAN, noise_hu=noise, blur_mm=0.9)) for noise in (15.0, 0.0))
    assert np.array_equal(noisy.label_map.array, clean.label_map.array)
    assert noisy.truth["smd_hu"] == clean.truth["smd_hu"]
    inside = np.isin(clean.label_map.array, (1, 2, 3))
    difference = noisy.volume.array.astype(float) - clean.volume.array
    assert 9 < difference[inside].std() < 50


def test_outside_a_truncated_field_there_is_padding_and_no_label():
    case = make_abdomen(7, replace(CLEAN, field_mm=220.0))
    axis = (np.arange(300) - 149.5) * 1.5
    outside = np.hypot(axis[:, None], axis[None, :]) > 110
    assert (case.volume.array[:, :, 0][outside] == -1024).all()
    assert not case.label_map.array[:, :, 0][outside].any()
    assert case.truth["sat_cm2"] < make_abdomen(7, CLEAN).truth["sat_cm2"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"contrast": "hepatic"}, "hepatic"),
        ({"tube_voltage_kv": 70.0}, "70 kV"),
        ({"slice_thickness_mm": 0.0}, "thickness"),
        ({"volume": True, "top": 16.0, "bottom": 14.0}, "16 to 14"),
    ],
)
def test_a_scan_that_cannot_be_made_is_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        replace(CLEAN, **wrong)
