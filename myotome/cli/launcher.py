"""Jobs of a study on the cohort engine: what ``--jobs``, ``--scheduler`` and ``--slurm`` of a study's command mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from myotome.errors import MyotomeError

if TYPE_CHECKING:
    from myotome.cohort.clusters import ClusterOptions

__all__ = ["make_launcher"]


def make_launcher(
    cluster: ClusterOptions, traces: Path
) -> Callable[[Sequence[Any], Callable[[], Any], Callable[[Any], None]], None]:
    """A launcher of a study's jobs on the cohort engine: workers of this machine, of a scheduler, or of SLURM.

    Raises
    ------
    MyotomeError
        When it launches, and a job takes its worker down twice; the others are done before.
    """

    def launch(jobs: Sequence[Any], open_work: Callable[[], Any], on_done: Callable[[Any], None]) -> None:
        from myotome.cohort.clusters import open_cluster
        from myotome.cohort.engine import Watch, run_jobs
        from myotome.cohort.outcomes import Lost

        lost: list[Lost] = []
        with open_cluster(cluster) as client:
            run_jobs(
                client,
                jobs,
                open_work,
                lambda result: lost.append(result) if isinstance(result, Lost) else on_done(result),
                Watch(traces),
            )
        if lost:
            raise MyotomeError(
                f"{len(lost)} jobs are lost, the first '{lost[0].job.job_id}' ({lost[0].reason}): the same command "
                "tries them again."
            )

    return launch
