"""Scores of the bone bundle on unseen phantoms: Dice of each structure, and which vertebrae got their own name.

The protocol is ``configs/studies/bone_evaluation.yaml``. What was scored is kept in a file per case under the weights'
hash, so that a run that was stopped goes on, and new weights are scored anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ruamel.yaml import YAML

from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.io import read_label_map, read_volume
from myotome.io.atomic import atomic_path
from myotome.metrics import compute_dice
from myotome.phantom_dataset import PhantomRequest, write_phantoms
from myotome.resources import config_path
from myotome.structures import LabelMap, read_label_schema

__all__ = ["VERDICTS", "BoneSegmenter", "evaluate_bones", "read_bone_protocol", "score_bones", "tabulate_bones"]

VERDICTS = ("found", "wrong", "missed", "refused")
SCHEMA = "bone_density_ct"
_BODIES = range(1, 9)

Progress = Callable[[int, int, str], None]
CaseScore = dict[str, Any]


class BoneSegmenter(Protocol):
    """What is scored."""

    weights_sha256: str
    precision: str

    def segment(self, volume: Volume) -> LabelMap:
        """Label map of a volume; raises `InputError` where the vertebrae cannot be named."""
        ...


def read_bone_protocol(path: Path | None = None) -> dict[str, Any]:
    """The protocol, from a file or from the project's own config."""
    return YAML(typ="safe").load(path or config_path("studies/bone_evaluation.yaml"))


def evaluate_bones(
    protocol: dict[str, Any], segmenter: BoneSegmenter, folder: Path, progress: Progress | None = None
) -> list[CaseScore]:
    """Score a segmenter on every phantom of the protocol; phantoms and scores are kept in ``folder``.

    Returns
    -------
    list of dict : ``case``, and what `score_bones` gives
    """
    phantoms = protocol["phantoms"]
    request = PhantomRequest(folder / "phantoms", phantoms["count"], phantoms["seed"], anatomy="bone")
    cases = write_phantoms(request, progress)
    kept = folder / "scores" / f"{segmenter.weights_sha256[:12]}-{segmenter.precision}"
    kept.mkdir(parents=True, exist_ok=True)
    scores = []
    for number, case in enumerate(cases, start=1):
        path = kept / f"{case.name}.json"
        if not path.is_file():
            score = {"case": case.name, **_score_folder(case, segmenter, protocol["found_share"])}
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(score))
        scores.append(json.loads(path.read_text()))
        if progress:
            progress(number, len(cases), "scored phantoms")
    return scores


def _score_folder(case: Path, segmenter: BoneSegmenter, found_share: float) -> CaseScore:
    volume = read_volume(case / "image.nii.gz")
    reference = read_label_map(case / "labels.nii.gz", read_label_schema(SCHEMA))
    try:
        return score_bones(reference, segmenter.segment(volume), found_share)
    except InputError as error:
        return {**score_bones(reference, None, found_share), "refusal": str(error)}


def score_bones(reference: LabelMap, prediction: LabelMap | None, found_share: float = 0.3) -> CaseScore:
    """How a label map agrees with its reference, in the slices from the lowest to the highest body of the reference.

    Parameters
    ----------
    prediction : on the same grid; ``None`` where the segmenter refused.
    found_share : of a body that has to be labelled as a body, whichever, or it is missed.

    Returns
    -------
    dict
        ``dice``: by structure, and ``vertebral_body`` for the bodies whichever their names, of what is in the
        reference; empty after a refusal. ``levels``: one of ``VERDICTS`` by the name of each body in the reference.
    """
    names = {structure.index: structure.name for structure in reference.schema.structures}
    axis = reference.grid.axis("IS")
    true = np.moveaxis(reference.array, axis, 0)
    bodies = [label for label in _BODIES if (true == label).any()]
    if prediction is None:
        return {"dice": {}, "levels": {names[label]: "refused" for label in bodies}}
    shown = np.flatnonzero(np.isin(true, _BODIES).any(axis=(1, 2)))
    span = slice(shown[0], shown[-1] + 1) if shown.size else slice(0, len(true))
    true, found = true[span], np.moveaxis(prediction.array, axis, 0)[span]
    dice = {name: compute_dice(true == label, found == label) for label, name in names.items() if (true == label).any()}
    dice["vertebral_body"] = compute_dice(np.isin(true, _BODIES), np.isin(found, _BODIES))
    levels = {names[label]: _judge(label, found[true == label], found_share) for label in bodies}
    return {"dice": dice, "levels": levels}


def _judge(label: int, inside: np.ndarray, found_share: float) -> str:
    """What became of a body, by the labels inside it."""
    counts = np.bincount(inside, minlength=max(_BODIES) + 1)[list(_BODIES)]
    if counts.sum() < found_share * len(inside):
        return "missed"
    return "found" if int(counts.argmax()) + _BODIES.start == label else "wrong"


def tabulate_bones(scores: Sequence[CaseScore], protocol: dict[str, Any]) -> str:
    """The tables, as Markdown: bars, Dice of each structure, and what became of each level."""
    names = [structure.name for structure in read_label_schema(SCHEMA).structures]
    means = {
        name: _mean([score["dice"][name] for score in scores if name in score["dice"]])
        for name in (*names, "vertebral_body")
    }
    counts = {name: [_count(scores, name, verdict) for verdict in VERDICTS] for name in names[: len(_BODIES)]}
    total = np.array(list(counts.values())).sum(axis=0)
    reached = {f"{name}_dice": value for name, value in means.items()}
    reached["named_body_dice"] = _mean([means[names[label - 1]] for label in _BODIES])
    reached |= {verdict: float(count / max(1, total.sum())) for verdict, count in zip(VERDICTS, total, strict=True)}
    lines = ["| score | value | wanted | met |", "|---|---|---|---|"]
    for bar in protocol["bars"]:
        value, least = reached[bar["score"]], "at_least" in bar
        wanted = bar["at_least"] if least else bar["at_most"]
        met = value is not None and (value >= wanted if least else value <= wanted)
        sign = "≥" if least else "≤"
        lines.append(f"| {bar['title']} | {_show(value)} | {sign} {wanted} | {'yes' if met else 'no'} |")
    lines += ["", "| structure | Dice | " + " | ".join(VERDICTS) + " |", "|---" * (2 + len(VERDICTS)) + "|"]
    for name, mean in means.items():
        cells = [str(count) for count in counts.get(name, [""] * len(VERDICTS))]
        lines.append(f"| {name} | {_show(mean)} | " + " | ".join(cells) + " |")
    refused = sum("refusal" in score for score in scores)
    return "\n".join([*lines, "", f"{len(scores)} phantoms, {refused} of them refused as a whole."])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _count(scores: Sequence[CaseScore], name: str, verdict: str) -> int:
    return sum(score["levels"].get(name) == verdict for score in scores)


def _show(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
