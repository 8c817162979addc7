"""Training rounds: a challenger is trained on the readers' labels, and replaces the champion only when it is better."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from filelock import FileLock, Timeout
from monailabel.interfaces.tasks.train import TrainTask

from lib.datastores import MyotomeDatastore
from lib.models import Model
from myotome.active_learning.annotations import Annotation
from myotome.active_learning.champions import Champion, copy_bundle, judge
from myotome.errors import InputError, MyotomeError
from myotome.geometry import Grid, Volume, reorient
from myotome.inference import BundleSegmenter
from myotome.io import write_label_map, write_volume
from myotome.io.atomic import atomic_folder, atomic_path
from myotome.metrics import score_label_map
from myotome.pipeline import in_axis_order
from myotome.structures import LabelMap
from myotome.training import BundleTraining
from myotome.training.warm import WarmTrainer

__all__ = ["BundleTrain", "LabelSetRefused", "RoundRequest", "read_progress"]

_FEWEST_TRAINING = 1
_FEWEST_VALIDATION = 3
Scores = dict[str, list[tuple[str, str, float]]]
_SUMMARY_SCORES = ("dice", "volume_error", "density_error")


class LabelSetRefused(InputError):
    """The labels cannot be trained on; the sentence says why."""


@dataclass(frozen=True)
class RoundRequest:
    """What a client asks of a round.

    Parameters
    ----------
    pretrained : go on from the champion's weights; ``False`` starts from nothing
    iterations : of each stage; the bundle's own number when ``None``
    tracking : an MLflow tracking URI, such as ``sqlite:///runs.db``
    """

    pretrained: bool = True
    iterations: int | None = None
    tracking: str = ""

    @classmethod
    def from_client(cls, request: Mapping[str, Any], tracking: str = "") -> RoundRequest:
        """Take the known keys of a request, and refuse values that make no sense."""
        iterations = request.get("iterations")
        if iterations is not None and (not isinstance(iterations, int) or not 1 <= iterations <= 1_000_000):
            raise InputError("'iterations' is not a whole number from 1 to 1000000: leave it out for the bundle's own.")
        pretrained = request.get("pretrained", True)
        if not isinstance(pretrained, bool):
            raise InputError("'pretrained' is neither true nor false.")
        return cls(pretrained, iterations, tracking)


class BundleTrain(TrainTask):
    """A bundle's training task; see `run_round`."""

    def __init__(self, model: Model, tracking: str = "") -> None:
        super().__init__(f"trains {model.name} further on the labels that were saved")
        self.model, self._tracking = model, tracking

    def config(self) -> dict[str, Any]:
        return {"pretrained": True}

    def stats(self) -> dict[str, Any]:
        """What is under way, and how the rounds before ended; shown in ``/info/``."""
        events = [event for event in self.model.history.events() if "verdict" in event]
        progress = read_progress(self.model)
        best = [max(event["champion"]["mean_dice"], event["challenger"]["mean_dice"]) for event in events[-1:]]
        return {
            # What the clients draw a bar and a line of: percent for epochs.
            "epoch": round(100 * progress["share"]) if progress else 0,
            "total_epochs": 100 if progress else 0,
            "best_metric": best[0] if best else 0.0,
            "progress": progress,
            "rounds": events[-20:],
        }

    def __call__(self, request: dict[str, Any], datastore: MyotomeDatastore) -> dict[str, Any]:
        wanted = RoundRequest.from_client(request, self._tracking)
        lock = FileLock(self.model.state.training(self.model.name) / "round.lock", timeout=0)
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            with lock, _shown(self.model) as report:
                return run_round(self.model, datastore, wanted, report)
        except Timeout:
            raise InputError(f"a training of {self.model.name} is under way: wait for it, or stop it.") from None
        except MyotomeError as error:
            self.model.history.record("refused", reason=str(error))
            print(f"REFUSED: {error}", flush=True)
            raise


def run_round(
    model: Model, datastore: MyotomeDatastore, wanted: RoundRequest, report: Callable[[str, float], None]
) -> dict[str, Any]:
    """One round: divide by patient, train a challenger, score both on the held-out patients, judge, publish or not.

    Returns
    -------
    dict : the verdict, the scores of both, and the round's number when it was published

    Raises
    ------
    LabelSetRefused
        When there are too few labels, or none shows a structure.
    """
    schema = model.schema.name
    cases = [datastore.annotations.newest(image, schema) for image in sorted(datastore.labelled(schema))]
    training, validation = _divide(model, datastore, cases)
    champion = model.champion
    report("preparing", 0.0)
    workspace = _workspace(model, champion, training, wanted)
    datalist = _write_datalist(workspace, [_write_pair(datastore, case) for case in training])
    weights = _train(model, champion, wanted, workspace, datalist, lambda words, share: report(words, 0.8 * share))
    report("scoring the champion", 0.8)
    kept = model.state.training(model.name) / "scores"
    ours = _score(champion.root, datastore, validation, kept)
    report("scoring the challenger", 0.9)
    theirs = _score(_as_bundle(model, weights, workspace), datastore, validation, kept)
    verdict = judge(_mean_dice(ours), _mean_dice(theirs))
    details = {
        "training_cases": len(training),
        "validation_cases": len(validation),
        "champion": {"round": champion.number, **_summary(ours)},
        "challenger": _summary(theirs),
        "pretrained": wanted.pretrained,
    }
    if verdict.better:
        published = model.history.publish(weights, verdict, details).number
    else:
        published = None
        model.history.record("not_published", verdict=asdict(verdict), **details)
    _track(model, wanted, verdict, details)
    shutil.rmtree(workspace, ignore_errors=True)
    report(verdict.reason, 1.0)
    return {"published_round": published, "verdict": asdict(verdict), **details}


def _divide(
    model: Model, datastore: MyotomeDatastore, cases: Sequence[Annotation]
) -> tuple[list[Annotation], list[Annotation]]:
    by_age = sorted(cases, key=lambda case: case.created)
    patients = {case.image_id: datastore.patient(case.image_id) for case in by_age}
    training, validation = model.validation_list.divide(list(patients.items()))
    found = {case.image_id: case for case in by_age}
    # One case per patient is scored, so that the cases of the comparison are independent.
    first = {patients[image]: image for image in reversed(validation)}
    chosen = [found[image] for image in training], [found[image] for image in first.values()]
    if len(chosen[0]) < _FEWEST_TRAINING or len(chosen[1]) < _FEWEST_VALIDATION:
        raise LabelSetRefused(
            f"{len(chosen[0])} labelled images are for training and {len(chosen[1])} patients for validation, at least "
            f"{_FEWEST_TRAINING} and {_FEWEST_VALIDATION} are needed: label images of more patients."
        )
    if not any(sum(case.voxels.values()) for case in chosen[0]):
        raise LabelSetRefused("every training label is empty, so there is nothing to learn: label some structures.")
    if not any(sum(case.voxels.values()) for case in chosen[1]):
        raise LabelSetRefused("every validation label is empty, so nothing can be scored: label some structures.")
    return chosen


def _workspace(model: Model, champion: Champion, training: Sequence[Annotation], wanted: RoundRequest) -> Path:
    """A folder named by all that goes into a round, so that a round that was killed goes on where it was."""
    what = [champion.weights_sha256, repr(wanted), *(case.labels_sha256 for case in training)]
    digest = hashlib.sha256("\n".join(what).encode()).hexdigest()[:16]
    folder = model.state.training(model.name) / digest
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_pair(datastore: MyotomeDatastore, case: Annotation) -> dict[str, str]:
    """Image and label as training reads them from the disk, bit by bit: RAS, uncompressed, written once."""
    folder = datastore.state.training_pair(case.image_id, case.version)
    if not folder.is_dir():
        volume = datastore.volume(case.image_id)
        label_map = datastore.annotations.read(case)
        image, affine = reorient(volume.array, np.array(volume.grid.affine))
        labels, turned = reorient(label_map.array, np.array(label_map.grid.affine))
        with atomic_folder(folder) as temporary:
            image = Volume(np.ascontiguousarray(image), Grid(image.shape, affine), volume.modality)
            write_volume(temporary / "image.nii", image)
            label_map = LabelMap(np.ascontiguousarray(labels), Grid(labels.shape, turned), label_map.schema)
            write_label_map(temporary / "labels.nii", label_map)
    return {"image": str(folder / "image.nii"), "label": str(folder / "labels.nii")}


def _write_datalist(workspace: Path, rows: list[dict[str, str]]) -> Path:
    path = workspace / "datalist.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"training": rows, "validation": rows}, indent=1))
    return path


def _train(
    model: Model,
    champion: Champion,
    wanted: RoundRequest,
    workspace: Path,
    datalist: Path,
    report: Callable[[str, float], None],
) -> Path:
    weights = workspace / "challenger.pt"
    if wanted.pretrained and not weights.is_file():
        with atomic_path(weights) as temporary:
            shutil.copyfile(champion.root / "models" / "model.pt", temporary)
    overlays = ("finetune",) if (model.shipped / "configs" / "finetune.yaml").is_file() else ()
    overrides: dict[str, Any] = {}
    if wanted.iterations:
        overrides = {"iterations": wanted.iterations, "epoch_length": min(20, wanted.iterations)}
    if not wanted.pretrained:
        overrides["learning_rate"] = 0.002
    training = BundleTraining(model.shipped, datalist, weights, workspace, overlays, overrides)
    with WarmTrainer() as warm:
        return warm(training, report)


def _as_bundle(model: Model, weights: Path, workspace: Path) -> Path:
    """The challenger as a bundle folder of its own."""
    root = workspace / "challenger" / model.name
    if root.is_dir():
        shutil.rmtree(root)
    copy_bundle(model.shipped, root, weights)
    return root


def _score(bundle: Path, datastore: MyotomeDatastore, cases: Sequence[Annotation], kept: Path) -> Scores:
    """``(structure, score, value)`` of each case, on the image's own grid; what was scored before is read again."""
    weights = hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()
    segmenter = None
    rows = {}
    for case in cases:
        what = hashlib.sha256(f"{weights} {case.labels_sha256} {case.image_id}".encode()).hexdigest()
        path = kept / f"{what[:32]}.json"
        if not path.is_file():
            # PyTorch itself: an engine that has to be exported and checked first would take longer than the scoring.
            segmenter = segmenter or BundleSegmenter(bundle, "auto", engine="eager")
            volume, reference = datastore.volume(case.image_id), datastore.annotations.read(case)
            reference = in_axis_order(reference, volume.grid)
            prediction = _segment_where_drawn(segmenter, volume, reference)
            scores = score_label_map(reference, prediction, volume, tolerance_mm=None)
            found = [(row.structure, row.score, row.value) for row in scores if row.score in _SUMMARY_SCORES]
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps([row for row in found if row[2] is not None]))
        rows[case.image_id] = json.loads(path.read_text())
    return rows


def _segment_where_drawn(segmenter: BundleSegmenter, volume: Volume, reference: LabelMap) -> LabelMap:
    """The bundle's label map; of a bundle that labels one vertebral level, in the slice that the reader drew in.

    An image that the bundle refuses, as one whose vertebrae it cannot name, has an empty label map.
    """
    if not segmenter.finds_level:
        try:
            return segmenter.segment(volume)
        except InputError:
            return LabelMap(np.zeros_like(reference.array), volume.grid, reference.schema)
    axis = volume.grid.axis("IS")
    drawn = np.flatnonzero(reference.array.any(axis=tuple(other for other in range(3) if other != axis)))
    if not drawn.size:
        return LabelMap(np.zeros_like(reference.array), volume.grid, reference.schema)
    return segmenter.segment_level(volume, level_slice=int(drawn[len(drawn) // 2]), average=len(drawn) > 1)


def _mean_dice(rows: Scores) -> dict[str, float]:
    """Mean Dice of each case over what its reference or its prediction has; 1 where both are empty."""
    return {
        case: float(np.mean([v for _, score, v in scores if score == "dice"] or [1])) for case, scores in rows.items()
    }


def _summary(rows: Scores) -> dict[str, Any]:
    table: dict[str, dict[str, list[float]]] = {}
    for scores in rows.values():
        for structure, score, value in scores:
            table.setdefault(structure, {}).setdefault(score, []).append(value)
    means = {s: {name: float(np.mean(values)) for name, values in row.items()} for s, row in table.items()}
    return {"mean_dice": float(np.mean(list(_mean_dice(rows).values()))), "structures": means}


def _track(model: Model, wanted: RoundRequest, verdict: Any, details: Mapping[str, Any]) -> None:
    """Log the round to MLflow, when that was asked for."""
    if not wanted.tracking:
        return
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    mlflow.set_tracking_uri(wanted.tracking)
    mlflow.set_experiment(f"myotome {model.name}")
    with mlflow.start_run():
        mlflow.log_params({"pretrained": wanted.pretrained, "training_cases": details["training_cases"]})
        mlflow.log_metric("champion_dice", details["champion"]["mean_dice"])
        mlflow.log_metric("challenger_dice", details["challenger"]["mean_dice"])
        mlflow.log_metric("difference", verdict.difference or 0.0)
        mlflow.set_tag("published", verdict.better)


def _progress_path(model: Model) -> Path:
    return model.state.training(model.name) / "progress.json"


def read_progress(model: Model) -> dict[str, Any] | None:
    """Phase, share done and minutes left of the round under way; ``None`` when there is none."""
    try:
        row = json.loads(_progress_path(model).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return row if psutil.pid_exists(row["pid"]) else None


@contextmanager
def _shown(model: Model) -> Any:
    """Reports go to standard output, which MONAI Label keeps, and to a file, which ``/info/`` and ``/status`` show."""
    begun = time.time()

    def report(words: str, share: float) -> None:
        left = (time.time() - begun) / share * (1 - share) / 60 if share > 0.01 else None
        print(f"{100 * share:3.0f} % {words}" + (f", {left:.0f} min left" if left is not None else ""), flush=True)
        row = {"phase": words, "share": round(share, 3), "minutes_left": left and round(left, 1), "pid": os.getpid()}
        with atomic_path(_progress_path(model)) as temporary:
            temporary.write_text(json.dumps(row))

    try:
        yield report
    finally:
        _progress_path(model).unlink(missing_ok=True)
