"""Where a cohort is computed: workers of this machine, a scheduler that runs somewhere, or a SLURM cluster."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dask
import psutil
from distributed import Client, LocalCluster

from myotome.cohort.outcomes import SchedulerLost
from myotome.errors import InputError, MyotomeError

if TYPE_CHECKING:
    from myotome.cohort.slurm import SlurmOptions

__all__ = ["THREAD_VARIABLES", "ClusterOptions", "open_cluster"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_MB = 2**20
_CONNECT_S = 20
_CONFIG = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.limit": "1h",
    "distributed.comm.timeouts.connect": "60s",
}


@dataclass(frozen=True)
class ClusterOptions:
    """How many workers there are, and where.

    ``jobs`` workers of ``threads`` threads each run on this machine, or are asked of SLURM where ``slurm`` is given;
    ``scheduler`` is the address of one that runs already, with workers of its own. Each worker may take ``memory_mb``.
    """

    jobs: int = 1
    threads: int | None = None
    memory_mb: int | None = None
    scheduler: str | None = None
    slurm: SlurmOptions | None = None

    @property
    def threads_each(self) -> int:
        """Threads of one worker: those asked for, or this machine's cores shared out."""
        return self.threads or max(1, len(os.sched_getaffinity(0)) // self.jobs)

    @property
    def memory_each_mb(self) -> int:
        """Memory of one worker: that asked for, or nine tenths of this machine's shared out."""
        return self.memory_mb or int(0.9 * psutil.virtual_memory().total / _MB / self.jobs)


@contextmanager
def open_cluster(options: ClusterOptions) -> Iterator[Client]:
    """A client of a cluster with its workers, closed when the block ends.

    Raises
    ------
    InputError
        When there is no scheduler at the address that was given.
    """
    threads = str(options.threads_each)
    environment = dict.fromkeys(THREAD_VARIABLES, threads) | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    config = _CONFIG | {"distributed.nanny.pre-spawn-environ": environment}
    if (
        options.slurm is None
    ):  # a worker that died is started again, which on a busy machine takes more than dask's 15 s
        config |= {"distributed.deploy.lost-worker-timeout": "1h"}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(config))
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        if options.scheduler:
            yield stack.enter_context(_connect(options.scheduler))
            return
        if options.slurm is not None:
            from myotome.cohort.slurm import open_slurm_cluster

            cluster = open_slurm_cluster(options.jobs, options.threads_each, options.memory_each_mb, options.slurm)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="myotome-"))
            cluster = _open_local(options, folder)
        client = stack.enter_context(Client(stack.enter_context(cluster)))
        try:
            yield client
        except SchedulerLost as error:
            reason = getattr(cluster, "failure", None)
            raise (MyotomeError(reason) if reason else error) from error


def _open_local(options: ClusterOptions, folder: str) -> LocalCluster:
    """Processes of this machine, spoken to over TLS with a certificate of their own: other users are kept out."""
    return LocalCluster(
        n_workers=options.jobs,
        threads_per_worker=1,
        processes=True,
        memory_limit=options.memory_each_mb * _MB,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        local_directory=folder,
        silence_logs=logging.CRITICAL,
        security=True,
    )


def _connect(address: str) -> Client:
    try:
        return Client(address, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no scheduler answers at '{address}': start one with 'dask scheduler', or check it."
        ) from error
