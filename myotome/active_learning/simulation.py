"""The annotation loop replayed with an oracle: label, train, score, choose, and again, for every strategy and seed."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np

from myotome.active_learning.cases import ReducedCase
from myotome.active_learning.strategies import STRATEGIES, Candidate
from myotome.biomarkers.tally import MUSCLE_HU
from myotome.errors import InputError, OutputError
from myotome.inference.uncertainty import CaseScores, score_probabilities
from myotome.io.atomic import atomic_path

__all__ = [
    "FULL_DATA",
    "Learner",
    "Model",
    "Plan",
    "RoundRecord",
    "Study",
    "read_records",
    "score_prediction",
    "simulate",
    "split_cases",
]

FULL_DATA = "full_data"
_LEAST_VOXELS = 20


class Model(Protocol):
    """What was trained."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """(S, C, H, W) float32 probabilities of the (S, H, W) slices of one case, in HU."""
        ...


class Learner(Protocol):
    """Trains a model from nothing; :class:`myotome.training.quick.QuickLearner` is one."""

    def fit(self, images: Sequence[np.ndarray], labels: Sequence[np.ndarray], seed: int, budget: float = 1.0) -> Model:
        """A model of (S, H, W) slices and their labels; ``budget`` is a multiple of the usual training."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is replayed.

    ``labelled`` are the numbers of labelled cases at which a model is trained and scored; the first are drawn by
    chance, the same for every strategy of a seed. ``test_share`` of the patients are held out, the same for every
    seed, by ``split_seed``. ``full_data_budget`` is how much longer the reference trains on the whole
    pool; at 1 only labels differ.

    Raises
    ------
    InputError
        When the numbers do not grow, a strategy is unknown, or there is no seed.
    """

    labelled: tuple[int, ...] = (2, 3, 4, 6, 8, 12, 20)
    strategies: tuple[str, ...] = tuple(STRATEGIES)
    seeds: int = 5
    test_share: float = 0.2
    split_seed: int = 1
    full_data_budget: float = 1.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.strategies) - set(STRATEGIES))
        if unknown or not self.strategies:
            raise InputError(f"no strategy {', '.join(unknown) or 'is given'}: there are {', '.join(STRATEGIES)}.")
        if len(set(self.strategies)) < len(self.strategies):
            raise InputError("a strategy is given twice: name each once.")
        if not self.labelled or self.labelled[0] < 1 or list(self.labelled) != sorted(set(self.labelled)):
            raise InputError(f"the numbers of labelled cases {list(self.labelled)} do not grow from at least 1.")
        if self.seeds < 1:
            raise InputError(f"{self.seeds} seeds cannot be run: give at least one.")
        if not 0 < self.test_share < 1:
            raise InputError(f"a test share of {self.test_share} leaves no test set or no pool: give one in between.")


@dataclass(frozen=True)
class RoundRecord:
    """One model of one strategy and seed: what it was trained on, how good it is, and what is to be labelled next.

    ``dice``, ``volume_error`` (share of the true volume) and ``density_error_hu`` are means over the test cases that
    hold the structure; the last over those in which the prediction holds it, too. ``corrected_voxels`` is what the
    oracle had to change so far: all voxels it drew in the first cases, then those that differed from the drafts.
    ``chosen`` are the cases that the strategy asks for next.
    """

    strategy: str
    seed: int
    round: int
    labelled: tuple[str, ...]
    corrected_voxels: int
    dice: dict[str, float]
    volume_error: dict[str, float]
    density_error_hu: dict[str, float]
    chosen: tuple[str, ...] = ()
    chosen_corrected_voxels: int = 0

    @property
    def key(self) -> tuple[str, int, int]:
        """What makes a record one of its kind."""
        return self.strategy, self.seed, self.round


@dataclass(frozen=True, eq=False)
class Study:
    """The cases, split, and the names of their structures (classes 1, 2, ...)."""

    pool: tuple[ReducedCase, ...]
    test: tuple[ReducedCase, ...]
    structures: tuple[str, ...]
    plan: Plan

    def __post_init__(self) -> None:
        if len(self.pool) < self.plan.labelled[-1]:
            raise InputError(
                f"the pool holds {len(self.pool)} cases, and {self.plan.labelled[-1]} are to be labelled: "
                "give more cases, or label fewer."
            )
        if not any(np.count_nonzero(case.labels) for case in self.test):
            raise InputError("no test case holds a labelled voxel: check that the label maps belong to this schema.")

    @property
    def record_count(self) -> int:
        """Records of a finished study."""
        return self.plan.seeds * (1 + len(self.plan.strategies) * len(self.plan.labelled))


def split_cases(
    cases: Sequence[ReducedCase], share: float, seed: int
) -> tuple[tuple[ReducedCase, ...], tuple[ReducedCase, ...]]:
    """Pool and test set; all cases of a patient are on one side.

    Raises
    ------
    InputError
        When there are fewer than two patients.
    """
    patients = sorted({case.patient for case in cases})
    if len(patients) < 2:
        raise InputError("the data set holds one patient: a pool and a test set need at least two.")
    count = min(max(1, round(share * len(patients))), len(patients) - 1)
    held_out = {patients[place] for place in np.random.default_rng(seed).permutation(len(patients))[:count]}
    pool = tuple(case for case in cases if case.patient not in held_out)
    return pool, tuple(case for case in cases if case.patient in held_out)


def simulate(
    study: Study,
    learner: Learner,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    jobs: int = 1,
) -> list[RoundRecord]:
    """Run what is missing of a study.

    Each finished round is one line of ``path``, written at once, so that a run that was stopped goes on where it was.

    Parameters
    ----------
    progress : called with the records that are done, and how many there will be.
    jobs : seeds that run at the same time, each in a process of its own.

    Returns
    -------
    list of RoundRecord
        Those of the study's strategies and seeds; the file may hold more.
    """
    done = {record.key: record for record in read_records(path, mend=True)}
    wanted = set(_wanted(study.plan))

    def tell() -> None:
        if progress:
            progress(len(wanted & set(done)), study.record_count)

    tell()
    seeds = [seed for seed in range(study.plan.seeds) if any(key[1] == seed and key not in done for key in wanted)]
    if jobs > 1 and len(seeds) > 1:
        with ProcessPoolExecutor(min(jobs, len(seeds)), mp_context=get_context("spawn")) as workers:
            running = [workers.submit(_run_seed, study, learner, path, seed, done) for seed in seeds]
            for job in as_completed(running):
                done |= {record.key: record for record in job.result()}
                tell()
    else:
        for seed in seeds:
            for record in _seed_records(study, learner, seed, done):
                _append(path, record)
                done[record.key] = record
                tell()
    return [done[key] for key in _wanted(study.plan)]


def read_records(path: Path, mend: bool = False) -> list[RoundRecord]:
    """The records of a file; a last line that was cut off by a stop is left out.

    Parameters
    ----------
    mend : write the file anew without such a line, so that more can be appended.
    """
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    records = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        try:
            fields = json.loads(line)
            lists = {"labelled": tuple(fields["labelled"]), "chosen": tuple(fields["chosen"])}
            records.append(RoundRecord(**{**fields, **lists}))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            if number < len(lines) - 1:
                raise InputError(f"line {number + 1} of {path} is not a record: remove it.") from error
    if mend and len(records) < len(lines):
        with atomic_path(path) as temporary:
            temporary.write_text("".join(_line(record) for record in records), encoding="utf-8")
    return records


def score_prediction(
    prediction: np.ndarray, case: ReducedCase, structures: Sequence[str]
) -> dict[str, tuple[float, float, float | None]]:
    """Dice, relative volume error and density error (HU) of each structure that the case holds.

    A structure of fewer than 20 true voxels is left out. Density is the mean HU of the contour's voxels within
    -29..150 HU; its error is ``None`` where the prediction (or the truth) has no such voxel.

    Parameters
    ----------
    prediction : (S, H, W) structure indices.
    """
    muscle = (case.hu >= MUSCLE_HU[0]) & (case.hu <= MUSCLE_HU[1])
    scores = {}
    for index, name in enumerate(structures, 1):
        truth, found = case.labels == index, prediction == index
        voxels, predicted = np.count_nonzero(truth), np.count_nonzero(found)
        if voxels < _LEAST_VOXELS:
            continue
        dice = 2 * np.count_nonzero(truth & found) / (voxels + predicted)
        inside, predicted_inside = case.hu[truth & muscle], case.hu[found & muscle]
        measurable = len(inside) and len(predicted_inside)
        density = float(abs(inside.mean() - predicted_inside.mean())) if measurable else None
        scores[name] = (float(dice), abs(predicted - voxels) / voxels, density)
    return scores


# -- one seed ----------------------------------------------------------------------------------------------------


class _Trained:
    """A model with what it says of the pool, computed once per case."""

    def __init__(self, study: Study, model: Model) -> None:
        self.study, self.model = study, model
        self._known: dict[str, tuple[CaseScores, int]] = {}

    def look_at(self, case: ReducedCase) -> tuple[CaseScores, int]:
        """Scores of a case, and how many voxels of its draft are wrong."""
        if case.case_id not in self._known:
            probabilities = self.model.probabilities(case.hu)
            scores = score_probabilities(zip(probabilities, case.hu, strict=True), self.study.structures)
            wrong = int(np.count_nonzero(probabilities.argmax(axis=1) != case.labels))
            self._known[case.case_id] = scores, wrong
        return self._known[case.case_id]

    def test(self) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """Mean Dice, volume error and density error per structure over the test set."""
        rows: dict[str, list[tuple]] = {name: [] for name in self.study.structures}
        for case in self.study.test:
            prediction = self.model.probabilities(case.hu).argmax(axis=1)
            for name, scores in score_prediction(prediction, case, self.study.structures).items():
                rows[name].append(scores)
        means = []
        for column in range(3):
            values = {name: [row[column] for row in found if row[column] is not None] for name, found in rows.items()}
            means.append({name: float(np.mean(found)) for name, found in values.items() if found})
        return means[0], means[1], means[2]


def _run_seed(
    study: Study, learner: Learner, path: Path, seed: int, done: dict[tuple[str, int, int], RoundRecord]
) -> list[RoundRecord]:
    """One seed in a process of its own."""
    records = []
    for record in _seed_records(study, learner, seed, done):
        _append(path, record)
        records.append(record)
    return records


def _seed_records(
    study: Study, learner: Learner, seed: int, done: dict[tuple[str, int, int], RoundRecord]
) -> Iterator[RoundRecord]:
    """The records of a seed that are missing, in the order in which they can be made."""
    cases = {case.case_id: case for case in study.pool}
    first_ids = _draw_first(study, seed)
    first: _Trained | None = None
    for strategy in study.plan.strategies:
        labelled = first_ids
        corrected = sum(int(np.count_nonzero(cases[name].labels)) for name in labelled)
        for turn in range(len(study.plan.labelled)):
            record = done.get((strategy, seed, turn))
            if record is None:
                trained = first if turn == 0 else None
                trained = trained or _train(study, learner, [cases[name] for name in labelled], seed)
                first = trained if turn == 0 else first
                record = _record(study, trained, (strategy, seed, turn), labelled, corrected)
                yield record
            labelled, corrected = (*labelled, *record.chosen), corrected + record.chosen_corrected_voxels
    if (FULL_DATA, seed, 0) not in done:
        trained = _train(study, learner, study.pool, seed, study.plan.full_data_budget)
        names = tuple(case.case_id for case in study.pool)
        yield RoundRecord(FULL_DATA, seed, 0, names, 0, *trained.test())


def _record(
    study: Study, trained: _Trained, key: tuple[str, int, int], labelled: tuple[str, ...], corrected: int
) -> RoundRecord:
    """Score a model and let the strategy choose the next cases by it."""
    chosen: tuple[str, ...] = ()
    voxels = 0
    name, seed, turn = key
    totals = study.plan.labelled
    if turn + 1 < len(totals):
        strategy = STRATEGIES[name]
        rng = np.random.default_rng((seed, turn, zlib.crc32(name.encode())))
        seen = {
            case.case_id: Candidate(
                case.case_id, trained.look_at(case)[0] if strategy.needs_scores else None, case.patient
            )
            for case in study.pool
        }
        known = [seen[case_id] for case_id in labelled]
        unknown = [candidate for case_id, candidate in seen.items() if case_id not in set(labelled)]
        chosen = tuple(strategy.choose(unknown, known, rng, totals[turn + 1] - totals[turn]))
        voxels = sum(trained.look_at(case)[1] for case in study.pool if case.case_id in set(chosen))
    return RoundRecord(name, seed, turn, labelled, corrected, *trained.test(), chosen, voxels)


def _train(study: Study, learner: Learner, cases: Sequence[ReducedCase], seed: int, budget: float = 1.0) -> _Trained:
    """The same seed gives the same first weights and order for every strategy, so that they differ by their cases."""
    return _Trained(study, learner.fit([case.hu for case in cases], [case.labels for case in cases], seed, budget))


def _draw_first(study: Study, seed: int) -> tuple[str, ...]:
    ids = sorted(case.case_id for case in study.pool)
    places = np.random.default_rng((seed, 11)).permutation(len(ids))[: study.plan.labelled[0]]
    return tuple(ids[place] for place in places)


def _wanted(plan: Plan) -> list[tuple[str, int, int]]:
    rounds = range(len(plan.labelled))
    keys = [(name, seed, turn) for seed in range(plan.seeds) for name in plan.strategies for turn in rounds]
    return keys + [(FULL_DATA, seed, 0) for seed in range(plan.seeds)]


def _line(record: RoundRecord) -> str:
    return json.dumps(asdict(record)) + "\n"


def _append(path: Path, record: RoundRecord) -> None:
    """One whole line in one write, so that processes can share the file, and on disk before going on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, _line(record).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): free some space, or choose another folder."
        ) from error
