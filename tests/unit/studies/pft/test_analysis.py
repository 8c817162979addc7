import numpy as np
import pandas as pd
import pytest
from scipy import stats

from myotome.errors import InputError
from myotome.studies.pft.analysis import correlate_all, count_missing, describe_people
from myotome.studies.pft.conclusion import conclude
from myotome.studies.pft.models import fit_models
from myotome.studies.pft.settings import read_settings

SETTINGS = read_settings()


def make_people(count=400, seed=1):
    """Lung function follows erector spinae volume (and height), nothing else does."""
    rng = np.random.default_rng(seed)
    male = rng.random(count) < 0.5
    height = 163 + 13 * male + 7 * rng.normal(size=count)
    frame = pd.DataFrame(
        {"subject_id": [f"S{n}" for n in range(count)], "sex": np.where(male, "M", "F"), "height_cm": height}
    )
    frame["age_years"] = rng.uniform(20, 80, count)
    for muscle in SETTINGS.muscles:
        frame[f"{muscle}.volume"] = 100 + 2 * (height - 160) + 40 * rng.normal(size=count)
        frame[f"{muscle}.density"] = 40 + 5 * rng.normal(size=count)
    for lung in SETTINGS.lung_function:
        frame[lung.name] = 0.03 * (height - 100) + 0.5 * rng.normal(size=count)
        if lung.z:
            frame[f"{lung.z}_z"], frame[f"{lung.z}_lln"] = rng.normal(size=count), 1.0
    frame["mip_cmh2o"] += 0.01 * frame["erector_spinae.volume"]
    return frame


def pick(table, kind, lung="mip_cmh2o", muscle="erector_spinae", measure="volume"):
    row = table[
        (table["kind"] == kind)
        & (table["lung_function"] == lung)
        & (table["muscle"] == muscle)
        & (table["measure"] == measure)
    ]
    return row.iloc[0]


def test_each_kind_is_what_it_says():
    people = make_people()
    table = correlate_all(people, SETTINGS)
    x, y = people["erector_spinae.volume"], people["mip_cmh2o"]
    men = people["sex"] == "M"
    assert pick(table, "raw")["r"] == pytest.approx(stats.pearsonr(x, y).statistic)
    assert pick(table, "raw_men")["r"] == pytest.approx(stats.pearsonr(x[men], y[men]).statistic)
    assert pick(table, "raw_women")["n"] == (~men).sum()
    assert pick(table, "spearman")["r"] == pytest.approx(stats.spearmanr(x, y).statistic)
    scored = stats.pearsonr(x, people["fvc_z"]).statistic
    assert pick(table, "z_score", "fvc_l")["r"] == pytest.approx(scored)
    design = np.column_stack([np.ones(len(people)), people["age_years"], men, people["height_cm"]])
    u, v = (values - design @ np.linalg.lstsq(design, values, rcond=None)[0] for values in (x.to_numpy(), y.to_numpy()))
    assert pick(table, "partial")["r"] == pytest.approx(np.corrcoef(u, v)[0, 1])
    assert not len(table[(table["kind"] == "z_score") & (table["lung_function"] == "mip_cmh2o")])


def test_families_are_adjusted_apart():
    table = correlate_all(make_people(), SETTINGS)
    partial = table[table["kind"] == "partial"]
    assert len(partial) == 36
    assert partial["q"].tolist() == pytest.approx(stats.false_discovery_control(partial["p"].to_numpy()).tolist())
    by_sex = table[table["kind"].isin(["raw_men", "raw_women"])]
    assert by_sex["q"].tolist() == pytest.approx(stats.false_discovery_control(by_sex["p"].to_numpy()).tolist())
    assert (table["discovery"] == (table["q"] <= 0.05)).all()


def test_the_corrected_estimate_uses_the_pipelines_error():
    table = correlate_all(make_people(), SETTINGS)
    row, error = pick(table, "partial"), SETTINGS.error_of("erector_spinae", "volume")
    assert row["corrected_r"] == pytest.approx(row["r"] / np.sqrt(row["reliability"]))
    assert error.spread == pytest.approx(0.042, abs=0.001) and error.count == 40
    assert table.loc[table["kind"] == "spearman", "corrected_r"].isna().all()
    bare = correlate_all(make_people(), SETTINGS.changed(measurement_error={}))
    assert bare["corrected_r"].isna().all() and bare["r"].notna().all()


def test_missing_values_and_small_groups():
    people = make_people(60)
    people.loc[:9, "mip_cmh2o"] = np.nan
    people.loc[people["sex"] == "M", "mep_cmh2o"] = np.nan
    table = correlate_all(people, SETTINGS)
    assert pick(table, "partial")["n"] == 50
    row = pick(table, "raw_men", "mep_cmh2o")
    assert row["n"] == 0 and pd.isna(row["r"]) and row["note"] == "fewer than 20"
    missing = count_missing(people, SETTINGS).set_index("value")
    assert missing.loc["MIP", "missing"] == 10
    assert missing.loc["pectoralis volume", "there"] == 60


def test_people_are_described_by_sex():
    people = make_people(100)
    people["fvc_lln"] = people["fvc_l"] + np.where(np.arange(100) % 4 == 0, 1, -1)
    table = describe_people(people, SETTINGS).set_index(["value", "sex"])
    men = people[people["sex"] == "M"]
    assert table.loc[("FVC", "M"), "mean"] == pytest.approx(men["fvc_l"].mean())
    assert table.loc[("FVC", "M"), "below_lln_percent"] == pytest.approx(100 * (men.index % 4 == 0).mean())
    assert pd.isna(table.loc[("MIP", "F"), "below_lln_percent"])


def test_the_linear_model_is_least_squares():
    people = make_people()
    row = fit_models(people, people, SETTINGS).set_index(["muscle", "measure", "lung_function"])
    row = row.loc[("erector_spinae", "volume", "mip_cmh2o")]
    names = ["erector_spinae.volume", "age_years", "height_cm"]
    design = np.column_stack([np.ones(400), people[names], people["sex"] == "M"]).astype(float)
    slope = np.linalg.lstsq(design, people["mip_cmh2o"].to_numpy(), rcond=None)[0][1]
    assert row["slope"] == pytest.approx(slope)
    assert row["slope_unit"] == "cmH2O per mL"
    assert row["beta"] == pytest.approx(slope * people["erector_spinae.volume"].std() / people["mip_cmh2o"].std())
    assert row["lower"] < row["beta"] < row["upper"]
    assert 0 < row["r_squared_gain"] < row["r_squared"] < 1


def test_the_mixed_model_does_not_count_a_patient_four_times():
    # Four scans of each patient with the same muscle: the mixed model's slope is that of least squares on patients'
    # means, and so is its standard error.
    few = SETTINGS.changed(muscles=("pectoralis",), lung_function=SETTINGS.lung_function[:1])
    people = make_people(150, seed=2)
    every = pd.concat([people] * 4, ignore_index=True)
    every["fvc_l"] += np.random.default_rng(3).normal(0, 0.4, len(every))
    row = fit_models(people, every, few.changed(repeated="all")).iloc[0]
    assert row["model"] == "mixed, with a random intercept per patient" and row["note"] == ""
    assert (row["patients"], row["scans"]) == (150, 600)
    means = (
        every.groupby("subject_id").agg({"fvc_l": "mean", "pectoralis.volume": "mean"}).reindex(people["subject_id"])
    )
    columns = [means["pectoralis.volume"], people["age_years"], people["height_cm"], people["sex"] == "M"]
    design = np.column_stack([np.ones(150), *columns]).astype(float)
    slopes, residual, *_ = np.linalg.lstsq(design, means["fvc_l"].to_numpy(), rcond=None)
    assert row["slope"] == pytest.approx(slopes[1], rel=1e-3)
    error = np.sqrt(residual[0] / 145 * np.linalg.inv(design.T @ design)[1, 1])
    half = (row["upper"] - row["lower"]) / 2 * row["slope"] / row["beta"]
    assert half == pytest.approx(1.96 * error, rel=0.02)
    naive = fit_models(every, every, few).iloc[0]
    assert naive["upper"] - naive["lower"] < 0.8 * (row["upper"] - row["lower"])


def test_conclusions_follow_the_estimates():
    people = make_people()
    table = correlate_all(people, SETTINGS)
    found = table[(table["kind"] == "partial") & table["discovery"]]
    sentences = conclude(table, SETTINGS)
    assert sentences[0].startswith(f"Given age, sex and height, {len(found)} of 36 pairs")
    assert sentences[1].startswith("Furthest from zero: erector spinae volume with MIP, partial r 0.")
    null = people.assign(mip_cmh2o=np.random.default_rng(5).normal(size=len(people)))
    null = conclude(correlate_all(null, SETTINGS), SETTINGS)
    assert null[0].startswith("Given age, sex and height, 0 of 36 pairs")
    assert null[1].startswith("Furthest from zero is ") and null[1].endswith("which chance alone can explain.")
    assert conclude(table.assign(r=np.nan), SETTINGS) == ["No correlation could be given: there are too few people."]


def test_settings_are_refused_in_a_sentence(tmp_path):
    for choice, sentence in (
        ({"reference": "nhanes"}, "reference is 'nhanes': choose gli_global_2022 or gli_2012"),
        ({"repeated": "some"}, "repeated is 'some': choose nearest or all"),
        ({"window_days": -1}, "window_days is -1"),
    ):
        with pytest.raises(InputError, match=sentence):
            SETTINGS.changed(**choice)
    path = tmp_path / "c.yaml"
    path.write_text("muscles: [pectoralis]\n")
    with pytest.raises(InputError, match="lacks a part or has an unknown one"):
        read_settings(path)
    path.write_text("muscles: [pectoralis\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_settings(path)
