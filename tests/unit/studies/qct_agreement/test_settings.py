"""The study's configuration, the changes it makes to an acquisition, and the list of its jobs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from myotome.errors import InputError
from myotome.phantoms.bone import BoneScan
from myotome.resources import config_path
from myotome.studies.protocol import People, read_protocol
from myotome.studies.qct_agreement.changes import change_scan, check_changes
from myotome.studies.qct_agreement.jobs import list_jobs
from myotome.studies.qct_agreement.settings import make_study_settings, read_study_settings

TABLE = read_protocol(config_path("studies/qct_agreement.yaml"))


def test_the_protocol_is_the_papers():
    settings = read_study_settings()
    assert (settings.training.count, settings.test.count) == (985, 421)
    jobs = list_jobs(settings)
    assert len({job.job_id for job in jobs}) == len(jobs)
    broken = Counter(job.fault for job in jobs if job.part == "broken")
    assert broken.pop("whole") == 50 and set(broken.values()) == {50} and sum(broken.values()) == 200
    steps = sum(map(len, settings.repeats.factors.values()))
    assert sum(job.part == "repeat" for job in jobs) == 40 * (1 + steps)
    quick = read_study_settings(preset="quick")
    assert quick.training.count + quick.test.count == 200 and len(list_jobs(quick)) < 300


def test_a_fingerprint_tells_scans_apart_and_not_their_analysis():
    settings = read_study_settings()
    assert settings.changed(resamples=10, leave_out=()).fingerprint == settings.fingerprint
    assert settings.changed(segmenter="bundle").fingerprint != settings.fingerprint
    assert settings.changed(test=People(9000000, 5)).fingerprint != settings.fingerprint


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"segmenter": "expert"}, "segmenter is 'expert': choose truth or bundle"),
        ({"methods": ["two_tissue", "guess"]}, "methods is .*name one or more of two_tissue, multi_tissue"),
        ({"test": {"seed": 2100900, "count": 100}}, "training and test share people"),
        ({"scan": {"colour": {"set": 1}}}, "scan changes 'colour', which no scan has"),
        ({"scan": {"noise_hu": 12}}, "'noise_hu' by 12: give one of set, times"),
        ({"precision": {"x": {"title": "X", "factors": ["moon"]}}}, "names the factor 'moon'"),
        ({"bars": [{"title": "T", "table": "moon", "measure": "m", "at_least": 1}]}, "the bar 'T' is of no table"),
        ({"colour": 1}, "has an unknown one .'colour'."),
        ({"fitting": {"fewest_at_voltage": 1, "error_ratio": 1}}, "5 people or more"),
        ({"repeats": {"people": {"seed": 1, "count": 1}, "factors": {"dose": []}}}, "dose has no change"),
        ({"broken": {"people": 3}}, "a part of another kind"),
    ],
)
def test_what_cannot_be_is_refused(change, sentence):
    with pytest.raises(InputError, match=sentence):
        make_study_settings(TABLE | change)


def test_changes_set_multiply_add_and_bound():
    scan = BoneScan(noise_hu=10.0, hu_offset=3.0, bottom=14.0, top=7.7, offset_mm=(1.0, 2.0))
    changes = {
        "noise_hu": {"times": 1.5},
        "hu_offset": {"plus": -15},
        "bottom": {"at_least": 14.7},
        "top": {"at_most": 7.5},
        "offset_mm": {"plus": [10, -5]},
        "scanner": {"set": "B"},
    }
    check_changes(changes, "scan")
    assert change_scan(scan, changes) == replace(
        scan, noise_hu=15.0, hu_offset=-12.0, bottom=14.7, top=7.5, offset_mm=(11.0, -3.0), scanner="B"
    )
    assert change_scan(scan, {}) == scan and change_scan(scan, {"bottom": {"at_least": 13}}).bottom == 14.0
    with pytest.raises(InputError, match="'offset_mm' is .*cannot change"):
        change_scan(scan, {"offset_mm": {"plus": [1, 2, 3]}})
