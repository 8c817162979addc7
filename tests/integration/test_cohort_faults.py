"""Workers die, disks fill, drivers are killed: every other case is finished, and the culprits are named."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from myotome.cohort.run import read_status

sys.path.insert(0, str(Path(__file__).parent))
from cohort_ordeal import Ordeal, require_order, small_disk, undergo, workers_of


@pytest.mark.slow
@pytest.mark.alone
def test_a_cohort_survives_everything_at_once(tmp_path):
    """`scripts/stress_cohort` repeats this twenty times."""
    with small_disk(tmp_path / "disk") as disk:
        ordeal = Ordeal(tmp_path / "people", (disk or tmp_path) / "cohort", seed=1)
        ordeal.make()
        said = undergo(ordeal, fills=disk is not None)
        require_order(ordeal)
    if disk is None:
        pytest.skip("everything but the full disk was tried: only root may mount a small one")
    assert "nearly full" in said["full"], said["full"]


@pytest.mark.alone
def test_ctrl_c_stops_everything_without_a_traceback(tmp_path):
    ordeal = Ordeal(tmp_path / "people", tmp_path / "cohort", seed=2)
    ordeal.make()
    driver = ordeal.start()
    ordeal.wait_for(5, driver)
    workers = workers_of(driver.pid)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.communicate(timeout=60)[0] == "stopped\n"
    assert not psutil.wait_procs(workers, timeout=30)[1]
    assert read_status(ordeal.output)["runs"][0]["state"] == "stopped"
    assert not list((ordeal.output / "incomplete").iterdir())
