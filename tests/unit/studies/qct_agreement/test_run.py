"""The run on phantoms of a few blocks: every scan a row, what is kept, how calibrations are broken, and the report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from myotome.biomarkers.bone_density import read_bone_density_settings
from myotome.errors import BundleError, InputError, MyotomeError, OutputError
from myotome.io import write_label_map, write_volume
from myotome.phantoms.bone import BoneScan
from myotome.structures import LabelMap
from myotome.studies.qct_agreement import jobs as jobs_module
from myotome.studies.qct_agreement.faults import break_case
from myotome.studies.qct_agreement.jobs import Job, Tools, Worker, list_jobs, read_rows, row_path
from myotome.studies.qct_agreement.readings import Reference
from myotome.studies.qct_agreement.report import write_report
from myotome.studies.qct_agreement.run import Means, SiteFiles
from myotome.studies.qct_agreement.settings import Fault
from myotome.studies.qct_agreement.study import run_study
from tests.unit.studies.qct_agreement.answers import make_block_case, make_bone_settings, small_study

SETTINGS = small_study()
BONE = make_bone_settings()


@dataclass
class Maker:
    """Draws blocks, and remembers what it was asked for; stops after ``stops_at`` of them."""

    stops_at: int = 10_000
    asked: list[tuple[int, BoneScan]] = field(default_factory=list)

    def __call__(self, seed: int, scan: BoneScan):
        if len(self.asked) == self.stops_at:
            raise MyotomeError("the power is off")
        self.asked.append((seed, scan))
        return make_block_case(seed, scan)


@pytest.fixture(autouse=True)
def _known_reference(monkeypatch):
    """The blocks have no rods: QCT is a little off what the person's blocks were made with."""

    def read_reference(volume, survey, levels, settings):
        hu = [survey.levels[level].hu for level in ("L1", "L2")]
        return Reference(float(np.mean(hu)) / 1.35, 0.5, ("L1", "L2"))

    monkeypatch.setattr(jobs_module, "read_reference", read_reference)


@pytest.fixture(scope="module")
def tools():
    return Tools(make=Maker(), bone=BONE)


def test_a_repeat_is_the_same_person_with_one_change_and_other_noise(tmp_path):
    maker = Maker()
    work = Worker(SETTINGS, tmp_path, Tools(make=maker, bone=BONE))
    jobs = [job for job in list_jobs(SETTINGS) if job.part == "repeat"][:2]
    for job in jobs:
        work(job)
    (seed, whole), (same, drifted) = maker.asked
    assert seed == same == 2300000 and whole.qct_phantom == "k2hpo4" and whole.bottom >= 15.7
    assert drifted == replace(whole, hu_offset=whole.hu_offset + 15, acquisition_seed=drifted.acquisition_seed)
    assert drifted.acquisition_seed != whole.acquisition_seed
    rows = read_rows(tmp_path, jobs)
    before, after = (row["survey"]["levels"]["L1"]["hu"] for row in rows)
    assert after - before == pytest.approx(15, abs=1)


def test_a_run_that_was_stopped_goes_on(tmp_path):
    jobs = list_jobs(SETTINGS)[:5]
    with pytest.raises(MyotomeError, match="power"):
        work = Worker(SETTINGS, tmp_path, Tools(make=Maker(stops_at=3), bone=BONE))
        for job in jobs:
            work(job)
    with pytest.raises(MyotomeError, match="'training/case_2100003' is not done"):
        read_rows(tmp_path, jobs)
    maker = Maker()
    again = Worker(SETTINGS, tmp_path, Tools(make=maker, bone=BONE))
    for job in jobs:
        again(job)
    assert [seed for seed, _ in maker.asked] == [2100003, 2100004] and len(read_rows(tmp_path, jobs)) == 5


def test_the_bundle_labels_what_is_measured_and_the_drawing_the_reference(tmp_path):
    @dataclass
    class Blind:
        bundle: str

        def segment(self, volume):
            case = make_block_case(2100000, BoneScan())
            empty = np.where(case.label_map.array <= 8, 0, case.label_map.array).astype(np.uint8)
            return LabelMap(empty, case.label_map.grid, case.label_map.schema)

    settings = SETTINGS.changed(segmenter="bundle")
    job = list_jobs(settings)[0]
    Worker(settings, tmp_path, Tools(make=Maker(), segmenter=Blind, bone=BONE))(job)
    row = read_rows(tmp_path, [job])[0]
    assert row["survey"]["levels"] == {} and row["reference"]["mg_cm3"] == pytest.approx(row["truth_mg_cm3"], abs=1)


@dataclass
class Choosy:
    """Labels blocks as they are drawn, and refuses the least dense people and whoever lies in padding."""

    bundle: str

    def segment(self, volume):
        drawn = make_block_case(0, BoneScan()).label_map
        bone = volume.array[drawn.array == drawn.schema["vertebral_body_l1"].index]
        if volume.array[0, 0, 0] == -1024 or bone.mean() < 85:
            raise InputError("the vertebrae of this scan cannot be named surely enough.")
        return drawn


def test_a_scan_that_the_bundle_refuses_is_a_row_without_a_number(tmp_path):
    settings = SETTINGS.changed(segmenter="bundle")
    tools = Tools(make=Maker(), segmenter=Choosy, bone=BONE)
    findings = run_study(settings, tmp_path, Means(tools=tools))
    write_report(tmp_path, findings, settings, BONE)
    flow = findings.tables["flow"]
    lost = flow[(flow["part"] == "test") & (flow["outcome"] != "compared")]
    assert set(lost["method"]) == {"two_tissue", "multi_tissue", "hu"}
    assert (
        set(lost["reason"]) == {"segmenter_refused"}
        and (lost["scans"] == 1).all()
        and (lost["osteoporosis"] == 1).all()
    )
    readings = pd.read_csv(tmp_path / "readings.csv")
    refused = readings[readings["refusal"].notna()]
    assert refused["bmd"].isna().all() and refused["flags"].str.contains("segmenter_refused").all()
    assert refused["refusal"].unique().tolist() == ["the vertebrae of this scan cannot be named surely enough."]
    decisions = findings.tables["decisions"].set_index(["method", "reference", "part", "question", "people", "measure"])
    row = decisions[decisions["rule"] == "fixed"].loc[
        ("two_tissue", "truth", "test", "osteoporosis", "all", "sensitivity")
    ]
    assert row["fn"] == 1, "a refused scan counts as missed"
    ordeal = findings.tables["ordeal"].set_index(["method", "fault"])
    broken = ordeal.loc[("multi_tissue", "missing_fat")]
    assert (broken["refused"], broken["silent"], broken["named"]) == (2, 0, 0)
    assert any("1 refused (segmenter_refused)" in sentence for sentence in findings.conclusion)


def test_a_sites_scan_without_labels_may_be_refused_too(tmp_path):
    case = make_block_case(0, BoneScan())  # the least dense
    write_volume(tmp_path / "scan.nii.gz", case.volume)
    job = Job("test", "s0", "P0", image=str(tmp_path / "scan.nii.gz"), qct_mg_cm3=60.0)
    Worker(SETTINGS, tmp_path / "out", Tools(segmenter=Choosy, bone=BONE))(job)
    row = read_rows(tmp_path / "out", [job])[0]
    assert row["survey"]["levels"] == {} and row["refusal"].startswith("the vertebrae of this scan cannot")
    assert row["reference"]["mg_cm3"] == 60.0 and row["truth_mg_cm3"] is None


def test_without_weights_the_study_ends(tmp_path):
    def none(bundle):
        raise BundleError(f"the bundle '{bundle}' has no weights.")

    settings = SETTINGS.changed(segmenter="bundle")
    job = list_jobs(settings)[0]
    with pytest.raises(BundleError, match="no weights"):
        Worker(settings, tmp_path, Tools(make=Maker(), segmenter=none, bone=BONE))(job)
    assert not row_path(tmp_path, job).exists()


def test_fat_is_cut_off_with_the_field():
    case = make_block_case(2400000, BoneScan())
    cut = break_case(case, "missing_fat", Fault("", ()), seed=2400000)
    fat = case.label_map.schema["subcutaneous_fat"].index
    assert not (cut.label_map.array == fat).any() and (cut.volume.array[case.label_map.array == fat] == -1024).all()
    inside = np.isin(case.label_map.array, [6, 7, 11, 12])
    np.testing.assert_array_equal(cut.volume.array[inside], case.volume.array[inside])
    rim = break_case(case, "missing_fat", Fault("", ()), seed=2400001).label_map.array == fat
    assert rim.sum() < 0.2 * (case.label_map.array == fat).sum()


def test_a_wrong_slope_turns_about_the_intercept():
    case = make_block_case(2400001, BoneScan())
    wrong = break_case(case, "wrong_slope", Fault("", (), factors=(0.5, 2.0)), seed=2400001)
    place = np.argmax(case.label_map.array == 11)
    before, after = (one.volume.array.ravel()[place] for one in (case, wrong))
    assert after == pytest.approx(2 * (int(before) + 1024) - 1024)


def test_every_second_header_hides_the_contrast_agent():
    case = make_block_case(2400000, BoneScan(contrast="venous"))
    hidden = break_case(case, "contrast", Fault("", ()), seed=2400000)
    told = break_case(case, "contrast", Fault("", ()), seed=2400001)
    assert hidden.volume.acquisition.contrast_agent is None and told.volume.acquisition.contrast_agent == "synthetic"


def test_the_study_from_scans_to_its_folder(tmp_path, tools):
    told = []
    means = Means(tools=tools, progress=lambda done, total, words: told.append((done, total)))
    findings = run_study(SETTINGS, tmp_path, means)
    write_report(tmp_path, findings, SETTINGS, BONE)
    jobs = len(list_jobs(SETTINGS))
    assert told[0] == (0, jobs) and told[-1] == (jobs, jobs)
    summary = json.loads((tmp_path / "summary.json").read_text())
    page = (tmp_path / "report.html").read_text()
    assert all(sentence.replace("'", "&#39;") in page for sentence in summary["conclusion"] if "<" not in sentence)
    bias = next(
        row for row in summary["agreement"]
        if (row["part"], row["method"], row["reference"], row["measure"], row["by"])
        == ("test", "two_tissue", "qct", "bias", "")
    )  # fmt: skip
    assert abs(bias["value"]) < 1 and bias["cases"] == 13, "blocks have no tissue of another density"
    silent = {(row["method"], row["fault"]): row["silent"] for row in summary["ordeal"]}
    assert silent["two_tissue", "all"] == 0 and silent["two_tissue", "whole"] == 2
    readings = pd.read_csv(tmp_path / "readings.csv")
    assert len(readings) == 3 * jobs and "youden_mg_cm3" in (tmp_path / "bone_density_coefficients.yaml").read_text()
    placed = read_bone_density_settings(tmp_path / "bone_density.yaml")
    assert placed.coefficients["two_tissue"].source == findings.facts["source"]
    assert placed.uncorrected() == read_bone_density_settings().uncorrected(), "nothing else is changed"
    before = len(tools.make.asked)
    assert run_study(SETTINGS, tmp_path, Means(tools=tools)).conclusion == findings.conclusion
    assert len(tools.make.asked) == before, "nothing is made a second time"
    with pytest.raises(OutputError, match="other settings"):
        run_study(SETTINGS.changed(levels=("L1",)), tmp_path, Means(tools=tools))


def test_a_sites_own_scans_go_the_same_way(tmp_path):
    rows, lines = [], ["patient,bmd,unit,part"]
    for number in range(17):
        case = make_block_case(number, BoneScan())
        write_volume(tmp_path / f"s{number}.nii.gz", case.volume)
        write_label_map(tmp_path / f"l{number}.nii.gz", case.label_map)
        rows.append({"image": f"s{number}.nii.gz", "label": f"l{number}.nii.gz", "patient": f"P{number}"})
        lines.append(f"P{number},{case.truth['bmd_mg_cm3']},mg/cm3,{'training' if number < 13 else 'test'}")
    (tmp_path / "scans.json").write_text(json.dumps(rows))
    (tmp_path / "qct.csv").write_text("\n".join(lines[:-1]) + "\n")
    settings = SETTINGS.changed(site=replace(SETTINGS.site, fewest_training=10))
    files = SiteFiles(tmp_path / "scans.json", tmp_path / "qct.csv")
    findings = run_study(settings, tmp_path / "out", Means(tools=Tools(bone=BONE)), files)
    write_report(tmp_path / "out", findings, settings, BONE)
    assert findings.facts["site"] and findings.facts["without_qct"] == 1 and findings.facts["fitted_on"] == 13
    agreement = findings.tables["agreement"]
    assert set(agreement["reference"]) == {"qct"}, "a site knows no truth"
    assert findings.tables["ordeal"].empty and "Broken calibrations" not in (tmp_path / "out/report.html").read_text()
    job = Job("test", "s13", "P13")
    assert json.loads(row_path(tmp_path / "out", job).read_text())["truth_mg_cm3"] is None
