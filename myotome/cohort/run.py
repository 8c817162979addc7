"""A cohort from its sources to its folder: what is missing is done, the rest is left as it is."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from myotome.cohort.analysis import AnalysisOptions, Analyst, Fingerprint, blank_record, record_failure
from myotome.cohort.clusters import ClusterOptions, open_cluster
from myotome.cohort.engine import Watch, run_jobs
from myotome.cohort.outcomes import Lost, Outcome
from myotome.cohort.sources import CaseSource, SourceOptions, find_cases
from myotome.errors import InputError, MyotomeError, OutputError
from myotome.io.atomic import atomic_path
from myotome.store import CohortFolder, Store
from myotome.store.folder import held
from myotome.store.identifiers import Pseudonyms

if TYPE_CHECKING:
    from myotome.inference import Segmenter

__all__ = ["Counts", "RunRequest", "RunSummary", "Shard", "read_recipe", "read_status", "run_cohort"]

_HEARTBEAT_S = 2.0
_LEAST_FREE_MB = 100
_COMPACT_EVERY = 5000


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``count`` parts, counted from 1: the cases whose id falls into it."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(
                f"there is no shard {self.number}/{self.count}: give k/n with k from 1 to n, such as 3/20."
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``k/n``."""
        number, _, count = text.partition("/")
        if not (number.isdigit() and count.isdigit()):
            raise InputError(f"'{text}' is no shard: give k/n, such as 3/20.")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        return f"{self.number}of{self.count}"

    def holds(self, case_id: str) -> bool:
        """True when the case is of this part."""
        return int(case_id, 16) % self.count == self.number - 1


@dataclass(frozen=True)
class RunRequest:
    """What to run. ``redo`` names the statuses of finished cases that are done again: ``failed``, unless it is a retry.

    ``recipe`` is what opens the segmenter again, and is kept in the private folder for `myotome cohort retry`.
    """

    sources: tuple[str, ...]
    output: Path
    fingerprint: Fingerprint
    open_segmenter: Callable[[], Segmenter]
    finding: SourceOptions = field(default_factory=SourceOptions)
    analysis: AnalysisOptions = field(default_factory=AnalysisOptions)
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    shard: Shard = field(default_factory=Shard)
    redo: tuple[str, ...] = ("failed",)
    timeout_s: float | None = None
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass
class Counts:
    """How far a run is: cases of this run by status, those that were there before, those of no source of this run."""

    total: int = 0
    before: int = 0
    elsewhere: int = 0
    done: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def finished(self) -> int:
        return self.done + self.refused + self.failed


@dataclass(frozen=True)
class RunSummary:
    """What a run did: its counts, how long it took, and the cases that failed with their (scrubbed) reasons."""

    counts: Counts
    seconds: float
    failures: tuple[tuple[str, str], ...]


Progress = Callable[[str, int, int, Counts], None]


def run_cohort(request: RunRequest, progress: Progress | None = None) -> RunSummary:
    """Find the cases, do those that are missing or were made by something else, and gather the tables.

    Parameters
    ----------
    progress : called with the step (``finding``, ``running``, ``gathering``), how much of it is done, of how much, and
        the counts

    Raises
    ------
    InputError
        When a source cannot be used, or another run is at work in the folder.
    OutputError
        When the folder cannot be written, or the disk is full.
    BundleError
        When the bundle cannot be opened.
    """
    began = time.monotonic()
    report = progress or (lambda step, done, total, counts: None)
    cohort = CohortFolder.create(request.output)
    with _alone(cohort, request.shard):
        _refuse_mixture(cohort, request)
        cohort = CohortFolder.create(request.output, _describe(request))
        cohort.remove_leftovers()
        counts = Counts()
        pseudonyms = Pseudonyms(cohort.key)
        cases = find_cases(
            request.sources,
            pseudonyms,
            request.finding,
            request.shard.holds,
            lambda looked_at: report("finding", looked_at, 0, counts),
        )
        _write_identities(cohort, cases, request, pseudonyms)
        missing = [case for case in cases if _is_wanted(cohort, case, request)]
        counts.total, counts.before = len(cases), len(cases) - len(missing)
        known = {case.case_id for case in cases}
        counts.elsewhere = sum(request.shard.holds(name) and name not in known for name in cohort.case_stamps())
        run = _Run(cohort, request, pseudonyms, counts, report)
        if missing:
            run.do(missing)
        report("gathering", 0, 0, counts)
        _gather(cohort)
        run.write_state("finished")
    return RunSummary(counts, time.monotonic() - began, tuple(run.failures))


class _Run:
    """The driver of one run: counts what comes back, and tells the world how far it is."""

    def __init__(
        self, cohort: CohortFolder, request: RunRequest, pseudonyms: Pseudonyms, counts: Counts, report: Progress
    ) -> None:
        self._cohort, self._request, self._pseudonyms = cohort, request, pseudonyms
        self._counts, self._report = counts, report
        self._began, self._started = time.monotonic(), _now()
        self._next_beat = 0.0
        self.failures: list[tuple[str, str]] = []

    def do(self, cases: Sequence[CaseSource]) -> None:
        request = self._request
        folder, opener = self._cohort.folder.resolve(), request.open_segmenter
        fingerprint, options = request.fingerprint, request.analysis

        def open_work() -> Callable[[CaseSource, int], Outcome]:
            return Analyst(folder, opener, fingerprint, options).analyze

        self._report("running", 0, len(cases), self._counts)
        self.write_state("running")
        name = f"{request.shard}-{socket.gethostname()}-{os.getpid()}"
        traces = self._cohort.private_folder.resolve() / "workers" / name
        try:
            with open_cluster(request.cluster) as client:
                run_jobs(client, cases, open_work, self._take, Watch(traces, request.timeout_s, self._beat))
        except BaseException:
            with contextlib.suppress(OSError, OutputError):
                self.write_state("stopped")
            raise
        shutil.rmtree(traces, ignore_errors=True)

    def _take(self, result: Outcome | Lost) -> None:
        if isinstance(result, Lost):
            result = self._record_loss(result)
        setattr(self._counts, result.status, getattr(self._counts, result.status) + 1)
        if result.status == "failed":
            self.failures.append((result.job_id, result.reason or ""))
        self._report("running", self._counts.finished, self._counts.total - self._counts.before, self._counts)
        if self._counts.finished % _COMPACT_EVERY == 0:
            _gather(self._cohort)

    def _beat(self) -> None:
        if time.monotonic() >= self._next_beat:
            self._require_space()
            self.write_state("running")

    def _record_loss(self, lost: Lost) -> Outcome:
        record = blank_record(lost.job, self._pseudonyms, self._request.fingerprint, lost.attempts)
        record = record_failure(self._cohort, replace(record, reason=lost.reason), lost.job)
        return Outcome(record.case_id, record.status, record.reason)

    def _require_space(self) -> None:
        free_mb = shutil.disk_usage(self._cohort.folder).free / 2**20
        if free_mb < _LEAST_FREE_MB:
            raise OutputError(
                f"the disk of '{self._cohort.folder}' is nearly full ({free_mb:.0f} MB left), so the run was stopped: "
                "free space, and start it again; it goes on where it was."
            )

    def write_state(self, state: str) -> None:
        """Leave word for `myotome cohort status`, which may run on another machine."""
        self._next_beat = time.monotonic() + _HEARTBEAT_S
        table = {
            "state": state,
            "shard": str(self._request.shard),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": self._started,
            "updated": _now(),
            "seconds": round(time.monotonic() - self._began, 1),
            "workers": self._request.cluster.jobs,
            **asdict(self._counts),
        }
        with atomic_path(self._cohort.folder / "runs" / f"{self._request.shard}.json") as temporary:
            temporary.write_text(json.dumps(table, indent=1), encoding="utf-8")


def _gather(cohort: CohortFolder) -> None:
    """Gather the tables for speed; a run is as good without, and the next one tries again."""
    with contextlib.suppress(OutputError):
        Store(cohort.folder).compact()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _describe(request: RunRequest) -> dict[str, Any]:
    chosen = {key: request.recipe[key] for key in ("engine", "precision") if key in request.recipe}
    outputs = sorted(request.analysis.outputs)
    return {**asdict(request.fingerprint), **chosen, "series": request.finding.series, "outputs": outputs}


def _refuse_mixture(cohort: CohortFolder, request: RunRequest) -> None:
    """One cohort, one way: cases in float32 beside cases in bfloat16, studies beside series, are not to be compared."""
    series = cohort.description.get("series", request.finding.series)
    if series != request.finding.series:
        raise InputError(
            f"the cases of '{cohort.folder}' were found with --series {series}: give the same, or another folder."
        )
    before, now = cohort.description.get("precision"), request.recipe.get("precision")
    if before is not None and now is not None and before != now:
        raise InputError(
            f"the cases of '{cohort.folder}' were computed in {before}, not {now}: give --precision {before}, or "
            "another folder."
        )


def _is_wanted(cohort: CohortFolder, case: CaseSource, request: RunRequest) -> bool:
    """True when a case is not there, was made by something else or from other files, or is to be done again."""
    record = cohort.read_record(case.case_id)
    return record is None or not request.fingerprint.made(record, case) or record["status"] in request.redo


@contextmanager
def _alone(cohort: CohortFolder, shard: Shard) -> Iterator[None]:
    """Hold the folder against other runs: of all cases, or of the same shard."""
    busy = InputError(
        f"another run is at work in '{cohort.folder}': wait for it ('myotome cohort status' says how far it is), stop "
        "it, or give every run its own --shard."
    )
    folder = cohort.private_folder
    with contextlib.ExitStack() as stack:

        def take(name: str, shared: bool = False) -> None:
            lock = stack.enter_context((folder / name).open("a+"))
            stack.enter_context(held(lock, shared=shared, wait=False))

        try:
            take("run.lock", shared=shard.count > 1)
            take(f"run-{shard}.lock")
            for path in folder.glob("run-*of*.lock"):
                if not path.stem.endswith(f"of{shard.count}"):  # whose parts would not be these
                    take(path.name, shared=True)
        except BlockingIOError as error:
            raise busy from error
        yield


def _write_identities(
    cohort: CohortFolder, cases: Sequence[CaseSource], request: RunRequest, pseudonyms: Pseudonyms
) -> None:
    """Which case is whom, for the owner of the cohort alone."""
    private = cohort.private_folder
    columns = ("case_id", "subject_id", "patient_id", "study_uid", "series_uid", "kind", "files", "place")
    path = private / ("identities.csv" if request.shard.count == 1 else f"identities-{request.shard}.csv")
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for case in cases:
            original = case.person.subject_id or case.patient_id
            row = (case.study_uid, case.series_uid, case.kind, len(case.files), case.place)
            writer.writerow((case.case_id, pseudonyms.subject(case.subject), original, *row))
    with atomic_path(private / "recipe.json") as temporary:
        sources = [source if "://" in source else str(Path(source).resolve()) for source in request.sources]
        recipe = {
            "sources": sources,
            "finding": asdict(request.finding),
            "analysis": asdict(request.analysis),
            "bundle": request.recipe,
        }
        temporary.write_text(json.dumps(recipe, indent=1), encoding="utf-8")


def read_recipe(folder: Path | str) -> dict[str, Any]:
    """What a cohort was last run with: ``sources``, ``finding``, ``analysis`` and ``bundle``.

    Raises
    ------
    InputError
        When the folder is not a cohort's, or a copy without its private part.
    """
    path = CohortFolder(folder).private_folder / "recipe.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"'{path}' cannot be read: use the cohort's own folder, or 'myotome cohort run'.") from error


def read_status(folder: Path | str) -> dict[str, Any]:
    """How far a cohort is: its cases by status, and the runs that are or were at work in it.

    Raises
    ------
    InputError
        When it is not a cohort's folder.
    """
    store = Store(folder)
    statuses = store.frame("SELECT status, count(*) AS cases FROM cases GROUP BY status")
    reasons = store.frame(
        "SELECT status, reason, count(*) AS cases, min(case_id) AS first FROM cases WHERE status <> 'done' "
        "GROUP BY ALL ORDER BY cases DESC, reason LIMIT 50"
    )
    runs = []
    for path in sorted((store.folder / "runs").glob("*.json")):
        try:
            runs.append(_judge(json.loads(path.read_text(encoding="utf-8"))))
        except (json.JSONDecodeError, KeyError) as error:
            raise MyotomeError(f"'{path}' is damaged: remove it.") from error
    return {
        "cases": {row.status: int(row.cases) for row in statuses.itertuples()},
        "runs": runs,
        "reasons": reasons.to_dict("records"),
    }


def _judge(run: dict[str, Any]) -> dict[str, Any]:
    """A run's state with its speed and the time left; one that has not been heard of for a minute is silent."""
    finished = run["done"] + run["refused"] + run["failed"]
    left = run["total"] - run["before"] - finished
    silent_s = (datetime.now(UTC) - datetime.fromisoformat(run["updated"])).total_seconds()
    per_hour = 3600 * finished / run["seconds"] if run["seconds"] > 0 else 0.0
    state = "silent" if run["state"] == "running" and silent_s > 60 else run["state"]
    return {
        **run,
        "state": state,
        "left": left,
        "cases_per_hour": round(per_hour, 1),
        "seconds_left": round(3600 * left / per_hour) if per_hour and left else None,
    }
