import importlib.resources

import numpy as np
import pandas as pd
import pytest

from myotome.errors import InputError
from myotome.studies.pft.reference import compute_z_scores

GROUPS = {1: "caucasian", 2: "african_american", 3: "north_east_asian", 4: "south_east_asian", 5: "other"}

# Predicted value, LLN and ULN as GLI's own calculator (gli-calculator.ersnet.org) printed them, for a grid of people
# that github.com/overdodactyl/pft keeps (data-raw/gli_test_grid_GLI.csv): sex, group, age, height, FEV1, FVC, TLCO.
CALCULATOR = [
    ("F", 1, 46.6, 190, (3.971, 3.124, 4.790), (5.037, 3.974, 6.141), (9.016, 7.074, 11.338)),
    ("F", 2, 57.0, 190, (3.098, 2.286, 3.877), (3.971, 2.965, 5.024), (8.625, 6.651, 11.014)),
    ("F", 2, 67.4, 190, (2.742, 1.938, 3.511), (3.574, 2.559, 4.643), (8.265, 6.252, 10.735)),
    ("F", 3, 20.6, 170, (3.605, 2.909, 4.281), (4.097, 3.410, 4.804), (7.896, 6.247, 9.855)),
    ("F", 4, 72.6, 150, (1.595, 1.115, 2.053), (1.982, 1.407, 2.588), (5.527, 4.141, 7.239)),
    ("F", 5, 31.0, 170, (3.276, 2.621, 3.911), (3.862, 3.126, 4.624), (7.933, 6.318, 9.844)),
    ("M", 1, 57.0, 150, (2.536, 1.935, 3.105), (3.155, 2.425, 3.894), (6.681, 5.039, 8.610)),
    ("M", 1, 62.2, 170, (3.174, 2.373, 3.929), (4.089, 3.101, 5.090), (8.322, 6.215, 10.813)),
    ("M", 1, 77.8, 190, (3.415, 2.389, 4.367), (4.655, 3.379, 5.950), (9.451, 6.856, 12.565)),
    ("M", 3, 46.6, 150, (2.669, 2.289, 3.038), (3.241, 2.804, 3.680), (7.117, 5.476, 9.025)),
    ("M", 5, 57.0, 150, (2.362, 1.796, 2.899), (2.905, 2.266, 3.552), (6.681, 5.039, 8.610)),
]
# FEV1/FVC of the same; printed to 0.001, which is worth up to 0.01 in z.
RATIOS = [("F", 1, 46.6, 190, (0.797, 0.689, 0.887)), ("M", 1, 62.2, 170, (0.777, 0.653, 0.885))]

# GLI Global 2022 as the R package rspiro computes it (same repository, tests/testthat/gli_2022_oracle.csv): sex, age,
# height, then measured value and z-score of FEV1, FVC, FEV1/FVC.
RSPIRO = [
    (
        "M",
        10,
        155,
        (2.13797919794469, -1.16451189619181),
        (2.54684098834776, -1.15549665125339),
        (0.721764514559603, -1.89159797771231),
    ),
    (
        "F",
        10,
        155,
        (2.07394607397887, -1.15660581424396),
        (2.39277197747134, -1.14289608678759),
        (0.744973868634301, -1.94674193995733),
    ),
    (
        "M",
        25,
        155,
        (2.63584298680439, -1.14365056510261),
        (2.99851124445708, -1.13186671776578),
        (0.742911915964155, -1.90233773524873),
    ),
    (
        "F",
        25,
        155,
        (2.34132016727093, -1.09191369005869),
        (2.65768947862724, -1.08836677378523),
        (0.74990297715579, -1.91099698570332),
    ),
    ("M", 65, 170, (2.4516, -0.9503), (3.1591, -0.9758), (0.6634, -1.5278)),
    ("M", 45, 185, (3.6191, -1.0409), (4.5379, -1.0484), (0.6765, -1.8280)),
    ("M", 85, 185, (2.5042, -0.8842), (3.4927, -0.9222), (0.6324, -1.2863)),
]


def _tests(**columns):
    return pd.DataFrame({"ethnicity": None, **columns})


def _of_calculator(rows, *names):
    frames = []
    for place in range(3):
        frame = pd.DataFrame([row[:4] for row in rows], columns=["sex", "ethnicity", "age_years", "height_cm"])
        frame["ethnicity"] = frame["ethnicity"].map(GROUPS)
        for column, name in enumerate(names):
            frame[name] = [row[4 + column][place] for row in rows]
        frames.append(frame)
    return frames


def test_predicted_values_and_limits_of_the_gli_calculator_have_their_z_scores():
    frames = _of_calculator(CALCULATOR, "fev1_l", "fvc_l", "dlco_mmol_min_kpa")
    for frame, z in zip(frames, (0, -1.645, 1.645), strict=True):
        scores = compute_z_scores(frame, "gli_2012")
        for name in ("fev1_z", "fvc_z", "dlco_z"):
            assert scores[name].to_numpy() == pytest.approx(np.full(len(frame), z), abs=0.01), name


def test_the_ratio_of_the_gli_calculator_as_far_as_it_prints_it():
    for frame, z in zip(_of_calculator(RATIOS, "fev1_fvc"), (0, -1.645, 1.645), strict=True):
        scores = compute_z_scores(frame, "gli_2012")["fev1_fvc_z"]
        assert scores.to_numpy() == pytest.approx(np.full(2, z), abs=0.01)


def test_lower_limits_are_those_of_the_gli_calculator():
    _, limits, _ = _of_calculator(CALCULATOR, "fev1_l", "fvc_l", "dlco_mmol_min_kpa")
    scores = compute_z_scores(limits, "gli_2012")
    for name, column in (("fev1_lln", "fev1_l"), ("fvc_lln", "fvc_l"), ("dlco_lln", "dlco_mmol_min_kpa")):
        assert scores[name].to_numpy() == pytest.approx(limits[column].to_numpy(), abs=0.002)


def test_the_race_neutral_z_scores_are_those_of_another_implementation():
    frame = pd.DataFrame([row[:3] for row in RSPIRO], columns=["sex", "age_years", "height_cm"])
    for column, name in enumerate(("fev1_l", "fvc_l", "fev1_fvc")):
        frame[name] = [row[3 + column][0] for row in RSPIRO]
    scores = compute_z_scores(frame)
    for column, name in enumerate(("fev1_z", "fvc_z", "fev1_fvc_z")):
        assert scores[name].to_numpy() == pytest.approx([row[3 + column][1] for row in RSPIRO], abs=0.01)


def test_the_paper_of_gli_2012_agrees_as_far_as_its_table_goes():
    # Quanjer et al. 2012, table 4: men of 25 and 55 years, 175 cm. It is rounded, and not quite of the final equations.
    people = _tests(
        sex=["M", "M"], age_years=[25.0, 55.0], height_cm=[175.0, 175.0], fev1_l=[4.46, 3.65], fvc_l=[5.32, 4.66]
    )
    people["ethnicity"] = "caucasian"
    scores = compute_z_scores(people, "gli_2012")
    assert scores[["fev1_z", "fvc_z"]].abs().to_numpy().max() < 0.04


def test_missing_values_and_ages_out_of_range_have_no_score():
    people = _tests(
        sex=["M", "F", "M", "M"],
        age_years=[50.0, 50.0, 96.0, 88.0],
        height_cm=[175.0, 160.0, 170.0, 170.0],
        fvc_l=[4.0, np.nan, 3.0, 3.0],
        dlco_mmol_min_kpa=[8.0, 7.0, 5.0, 5.0],
    )
    scores = compute_z_scores(people)
    assert scores["fvc_z"].notna().tolist() == [True, False, False, True]
    assert scores["fvc_lln"].notna().tolist() == [True, False, False, True]
    assert scores["dlco_z"].notna().tolist() == [True, True, False, False]
    assert "fev1_z" not in scores


def test_refusals():
    people = _tests(sex=["M"], age_years=[50.0], height_cm=[175.0], fvc_l=[4.0])
    with pytest.raises(InputError, match="choose gli_global_2022 or gli_2012"):
        compute_z_scores(people, "nhanes")
    with pytest.raises(InputError, match="one of caucasian, african_american, .*or use gli_global_2022"):
        compute_z_scores(people, "gli_2012")


def _own_global_z(people):
    """GLI Global for FEV1, from the published coefficients (Bowerman 2023, table E2) and its look-up table."""
    coefficients = {
        "M": (-11.399108, 2.462664, -0.011394, -2.256278, 0.080729, 1.22703, "males"),
        "F": (-10.901689, 2.385928, -0.076386, -2.364047, 0.129402, 1.21388, "females"),
    }
    with (importlib.resources.files("pyspiro.data") / "bowerman_2022_splines.csv").open("rb") as file:
        splines = pd.read_csv(file, delimiter=";").set_index("age")
    scores = []
    for sex, age, height, value in people.itertuples(index=False):
        a0, a1, a2, p0, p1, skew, name = coefficients[sex]
        row = splines.loc[age]
        median = np.exp(a0 + a1 * np.log(height) + a2 * np.log(age) + row[f"FEV1_{name}_Mspline"])
        spread = np.exp(p0 + p1 * np.log(age) + row[f"FEV1_{name}_Sspline"])
        scores.append(((value / median) ** skew - 1) / (skew * spread))
    return np.array(scores)


def test_people_of_nhanes_score_as_the_published_equation_says(shared_data):
    table = pd.read_csv(shared_data / "tables" / "nhanes_spirometry_us.csv")
    people = pd.DataFrame(
        {
            "sex": table["gender"].map({"male": "M", "female": "F"}),
            "age_years": table["age"],
            "height_cm": table["height"],
            "fev1_l": table["fev1"],
        }
    )
    black = people[table["ethnicity"] == "black"].head(800)
    own, scores = _own_global_z(black), compute_z_scores(black)["fev1_z"].to_numpy()
    assert scores == pytest.approx(own, abs=1e-6)
    assert scores.mean() == pytest.approx(own.mean()) and own.mean() < -0.5
    assert compute_z_scores(people)["fev1_z"].notna().sum() == 16596
