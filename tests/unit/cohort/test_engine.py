"""What a worker does while its disk is full."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from myotome.cohort.engine import _Crew
from myotome.cohort.outcomes import Outcome

WORKER = SimpleNamespace(address="tcp://127.0.0.1:1")


def open_work():
    return lambda job, attempt: Outcome(job.job_id, "done")


@pytest.mark.parametrize("full", ["file", "folder"])
def test_a_worker_that_cannot_leave_a_trace_works_on(tmp_path, full):
    traces = tmp_path / "workers"
    if full == "file":
        traces.mkdir()
        (traces / "127.0.0.1-1.txt").symlink_to("/dev/full")
    else:
        traces.write_text("no folder can be made here")
    crew = _Crew(open_work, traces, None)
    crew.setup(WORKER)
    try:
        assert crew.work(SimpleNamespace(job_id="a"), 1) == Outcome("a", "done")
    finally:
        crew.teardown(WORKER)
