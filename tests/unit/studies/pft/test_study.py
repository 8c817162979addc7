import csv
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from myotome.cli.study_pft import pft_correlation, pft_phantoms
from myotome.errors import InputError, OutputError
from myotome.resources import config_path
from myotome.statistics.correlation import correlate
from myotome.store import Store
from myotome.studies.pft.cohort import write_phantom_cohort
from myotome.studies.pft.settings import read_settings
from tests.conftest import PDF

SETTINGS = read_settings()
OUTPUTS = {
    "report.html",
    "summary.json",
    "correlations.csv",
    "models.csv",
    "people.csv",
    "missing.csv",
    "left_out.csv",
    "flow.csv",
    "pairs.csv",
} | PDF


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "people"
    return write_phantom_cohort(folder, 150, 9000, SETTINGS)


@pytest.fixture(scope="module")
def study(cohort, tmp_path_factory):
    """The command's output; the table of tests lies under a name that must not show."""
    folder = tmp_path_factory.mktemp("study")
    table = folder / "Doe_Jane_1950.csv"
    table.write_bytes(cohort[1].read_bytes())
    pft_correlation(measurements=cohort[0], pft=table, output=folder / "out", quiet=True)
    return folder / "out"


def test_one_command_leaves_everything(study):
    assert {path.name for path in study.iterdir()} == OUTPUTS
    assert all((study / name).read_bytes().startswith(b"%PDF") for name in PDF)
    page = (study / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 5
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)


def test_no_identifier_leaks(study, cohort):
    hidden = ["PHANTOM-", "Doe_Jane", str(cohort[0]), "people/cohort"]
    for path in study.iterdir():
        content = re.sub(rb"base64,[^\"]*", b"", path.read_bytes())
        for word in hidden:
            assert word.encode() not in content, (path.name, word)
    ids = pd.read_csv(study / "pairs.csv")["subject_id"]
    assert ids.str.fullmatch(r"S[0-9a-f]{12}").all() and ids.is_unique
    assert "test_date" not in (study / "pairs.csv").read_text()


def test_the_flow_adds_up(study, cohort):
    flow = pd.read_csv(study / "flow.csv", keep_default_na=False)
    count = flow[flow["reason"] == ""].set_index("step")["count"]
    lost = flow[flow["reason"] != ""].groupby("step")["count"].sum()
    analysed = count["Patients analysed"]
    assert count["Scans in the cohort"] - lost["Scans in the cohort"] == count["Usable scans"]
    for step in ("Usable scans", "Patients with a usable scan", "Tests in the table"):
        assert count[step] - lost[step] == analysed
    with cohort[1].open() as file:
        assert count["Tests in the table"] == sum(1 for _ in csv.reader(file)) - 1
    assert count["Scans in the cohort"] == Store(cohort[0]).frame("SELECT count(*) AS n FROM cases")["n"][0]
    assert len(pd.read_csv(study / "pairs.csv")) == analysed


def test_the_table_of_pairs_gives_the_table_of_correlations(study):
    pairs, table = pd.read_csv(study / "pairs.csv"), pd.read_csv(study / "correlations.csv")
    others = np.column_stack([pairs["age_years"], pairs["sex"] == "M", pairs["height_cm"]])
    for _, row in table[table["kind"] == "partial"].iterrows():
        own = correlate(pairs[f"{row['muscle']}.{row['measure']}"], pairs[row["lung_function"]], others)
        assert row["r"] == pytest.approx(own.value, abs=1e-4)
        assert row["n"] == own.count


def test_running_it_again_gives_the_same_tables(study, cohort, tmp_path):
    before = {path.name: path.read_bytes() for path in study.iterdir()}
    pft_correlation(measurements=cohort[0], pft=cohort[1], output=study, quiet=True)
    for name in OUTPUTS - PDF:
        assert (study / name).read_bytes() == before[name], name


def test_gli_2012_is_asked_for_its_ethnicity(cohort, tmp_path):
    with pytest.raises(InputError, match="GLI-2012 needs the column 'ethnicity'"):
        pft_correlation(measurements=cohort[0], pft=cohort[1], output=tmp_path / "o", reference="gli_2012", quiet=True)
    assert not (tmp_path / "o").exists()
    lines = cohort[1].read_text().splitlines()
    table = tmp_path / "t.csv"
    table.write_text("\n".join([lines[0] + ",ethnicity", *(line + ",caucasian" for line in lines[1:])]) + "\n")
    pft_correlation(measurements=cohort[0], pft=table, output=tmp_path / "o", reference="gli_2012", quiet=True)
    assert "GLI-2012 (by ethnic group)" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")


def test_several_scans_of_a_patient_can_go_into_mixed_models(cohort, tmp_path):
    config = tmp_path / "study.yaml"
    text = config_path("studies/pft_correlation.yaml").read_text(encoding="utf-8")
    config.write_text(text.replace("muscles: [pectoralis, erector_spinae, intercostal]", "muscles: [pectoralis]"))
    pft_correlation(
        measurements=cohort[0], pft=cohort[1], output=tmp_path / "o", repeated="all", config=config, quiet=True
    )
    models = pd.read_csv(tmp_path / "o" / "models.csv")
    assert models["model"].str.startswith("mixed").all() and len(models) == 12
    assert (models["scans"] > models["patients"]).all()


def test_a_folder_of_something_else_is_left_alone(cohort, tmp_path):
    (tmp_path / "summary.json").write_text('{"study": "another"}')
    with pytest.raises(OutputError, match="holds something else than this study"):
        pft_correlation(measurements=cohort[0], pft=cohort[1], output=tmp_path, quiet=True)
    with pytest.raises(OutputError, match="not empty"):
        pft_phantoms(output=tmp_path, count=1, seed=1, quiet=True)


def test_a_table_of_other_patients_is_refused(cohort, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(cohort[1].read_text().replace("PHANTOM", "SOMEONE"))
    with pytest.raises(InputError, match="no patient has both a usable scan and a test"):
        pft_correlation(measurements=cohort[0], pft=table, output=tmp_path / "o", quiet=True)


def test_the_script_for_nhanes_prints_every_group(shared_data):
    table = shared_data / "tables" / "nhanes_spirometry_us.csv"
    done = subprocess.run(
        [sys.executable, "scripts/nhanes_z_scores", str(table)], capture_output=True, text=True, check=True
    )
    rows = {
        tuple(cell.strip() for cell in line.split("|")[1:3]): line for line in done.stdout.splitlines() if "+-" in line
    }
    people = pd.read_csv(table)
    assert len(rows) == 12
    assert f"| {len(people[people['gender'] == 'male'])} |" in rows["all", "M"]
    assert "GLI-2012 (by ethnic group): 16596" in done.stdout
