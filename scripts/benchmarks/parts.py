"""What the bench consists of: for each part, the runs it needs, in the order in which they are to be run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.launch import Job, digest_of_file
from benchmarks.machine import CHECKOUT, find_gpu
from benchmarks.recipe import CLASSES
from benchmarks.volumes import Inputs

__all__ = ["ENGINES", "OURS", "PARTS", "PEERS", "Bench"]

PEERS = ("stock", "nnunet", "totalsegmentator")
_PEER_SECONDS = {"stock": 250.0, "nnunet": 240.0, "totalsegmentator": 220.0}

OURS: dict[str, tuple[str, ...]] = {
    "ours float32": ("--precision", "float32", "--skip-empty"),
    "ours bfloat16": ("--precision", "bfloat16", "--skip-empty", "--unchecked"),
    "ours do-less": ("--precision", "bfloat16", "--skip-empty", "--crop-body", "--overlap", "0.25", "--unchecked"),
}
"""Our variants: the first two with the windows and blending of (a), the last with every lever on."""

ENGINES = ("eager", "inductor", "openvino", "onnxruntime")
_PRECISIONS = ("float32", "bfloat16")
_WARM = "ours bfloat16"
_CASCADE = [(name, precision) for precision in _PRECISIONS for name in ("first network", "whole cascade")]


@dataclass(frozen=True)
class Bench:
    """One call of `scripts/bench`.

    Parameters
    ----------
    folder : where everything is kept
    inputs : the images
    runs : repeats of each paired or timed run
    weights : state dict of the comparison's network; untrained without it
    peers : interpreter of the peers' environment
    """

    folder: Path
    inputs: Inputs
    runs: int
    weights: Path | None
    peers: Path

    @property
    def quick(self) -> bool:
        """Small inputs instead of clinical ones."""
        return self.inputs.quick

    def label_map(self, source: str, name: str) -> Path:
        """Where a pipeline's label map of an input is kept."""
        return self.folder / "labels" / source / f"{name.replace(' ', '_')}.nii.gz"


def _ours() -> Path:
    return Path(sys.executable)


def _pipeline_job(
    bench: Bench, part: str, name: str, image: Path, *, words: tuple[str, ...] = (), classes: int = CLASSES, **details
) -> Job:
    """A run of a peer or of one of our variants on an image."""
    source = image.name.removesuffix(".nii.gz")
    output = bench.label_map(source, name if classes == CLASSES else f"{name}_{classes}_classes")
    output.parent.mkdir(parents=True, exist_ok=True)
    words = (*OURS.get(name, ()), *words)
    settings = {"words": " ".join(words), "classes": classes}
    arguments = ("--image", str(image), "--output", str(output), *words)
    if classes != CLASSES:
        arguments += ("--classes", str(classes))
    elif bench.weights:
        arguments += ("--weights", str(bench.weights))
        settings["weights"] = digest_of_file(bench.weights)
    peer = name in PEERS
    return Job(
        part,
        name,
        source,
        f"run_{name}" if peer else "run_myotome",
        arguments,
        settings,
        python=bench.peers if peer else _ours(),
        expected_s=details.pop("expected_s", _PEER_SECONDS[name] if peer else 40.0) / (10 if bench.quick else 1),
        **details,
    )


def _warm(bench: Bench, names: Iterable[str], counts: Iterable[int] = (CLASSES,)) -> Iterator[Job]:
    """One untimed run of each of our variants on the small phantom.

    An engine is compiled, and checked against PyTorch eager, once per machine, network and settings; that is part of
    installing it, and what is timed is every later run.
    """
    image = replace(bench.inputs, quick=True).phantom()
    for name in names:
        for count in counts:
            yield _pipeline_job(bench, "warm-up", name, image, classes=count, expected_s=60.0)


def compare(bench: Bench) -> Iterator[Job]:
    """(a), (b), (c), each followed by ours, so that a ratio is that of neighbours in time."""
    yield from _warm(bench, OURS)
    images = [bench.inputs.phantom(), None if bench.quick else bench.inputs.real()]
    for image in filter(None, images):
        for repeat in range(bench.runs):
            for peer in PEERS:
                yield _pipeline_job(bench, "compare", peer, image, repeat=repeat)
                for name in list(OURS)[: None if peer == "stock" else 2]:
                    yield _pipeline_job(bench, "compare", name, image, repeat=repeat, after=peer)


def cascade(bench: Bench) -> Iterator[Job]:
    """`myotome analyze` and its first network alone, one after the other."""
    small = replace(bench.inputs, quick=True).phantom_dicom()
    yield from (_cascade_job(bench, "warm-up", small, name, precision) for name, precision in _CASCADE)
    folder = bench.inputs.phantom_dicom()
    for repeat in range(bench.runs):
        yield from (_cascade_job(bench, "cascade", folder, name, precision, repeat) for name, precision in _CASCADE)


def _cascade_job(bench: Bench, part: str, folder: Path, name: str, precision: str, repeat: int = 0) -> Job:
    words = ("--precision", precision) + ("--only-first-stage",) * (name == "first network")
    output = bench.folder / "cascade" / f"{folder.name}_{precision}_{name.replace(' ', '_')}"
    output.parent.mkdir(parents=True, exist_ok=True)
    arguments = ("--image", str(folder), "--output", str(output), *words)
    settings = {"words": " ".join(words)}
    return Job(part, f"{name} {precision}", folder.name, "run_cascade", arguments, settings, repeat, expected_s=90.0)


def sizes(bench: Bench) -> Iterator[Job]:
    """Ours on 100 to 1,000 slices of the same body and spacing."""
    yield from _warm(bench, ("ours float32", "ours bfloat16"))
    for repeat in range(min(bench.runs, 3)):
        for slices in (40, 60, 120) if bench.quick else (100, 330, 600, 1000):
            image = bench.inputs.stretched(slices)
            for name in ("ours float32", "ours bfloat16"):
                yield _pipeline_job(bench, "sizes", name, image, repeat=repeat, expected_s=0.12 * slices)


def classes(bench: Bench) -> Iterator[Job]:
    """Ours with 2 to 100 outputs of untrained networks."""
    image = bench.inputs.phantom()
    counts = (2, 20) if bench.quick else (2, 6, 20, 50, 100)
    yield from _warm(bench, ["ours bfloat16"], counts)
    for repeat in range(min(bench.runs, 3)):
        for count in counts:
            yield _pipeline_job(
                bench, "classes", "ours bfloat16", image, classes=count, repeat=repeat, expected_s=30.0 + count
            )


def volumes(bench: Bench) -> Iterator[Job]:
    """Several volumes in a row in one process: the first, and the warm ones."""
    count = 3 if bench.quick else 4
    yield from _warm(bench, [_WARM])
    for repeat in range(min(bench.runs, 3)):
        yield _pipeline_job(
            bench,
            "volumes",
            _WARM,
            bench.inputs.phantom(),
            words=("--volumes", str(count)),
            repeat=repeat,
            expected_s=30.0 * count,
        )


def shoulder(bench: Bench) -> Iterator[Job]:
    """`myotome analyze` on one slice of a shoulder, the first and the warm ones of a process."""
    folder, slices = bench.inputs.shoulder_dicom(), 3 if bench.quick else 20
    output = bench.folder / "shoulder"
    arguments = ("--image", str(folder), "--output", str(output), "--slices", str(slices))
    for repeat in range(bench.runs):
        yield Job("shoulder", "one slice", folder.name, "run_shoulder", arguments, {"slices": slices}, repeat)


def roofline(bench: Bench) -> Iterator[Job]:
    """The processor's measured peaks."""
    seconds = "1" if bench.quick else "6"
    for repeat in range(min(bench.runs, 3)):
        yield Job("roofline", "peaks", "", "run_roofline", ("--seconds", seconds), {"seconds": seconds}, repeat)


def engines(bench: Bench) -> Iterator[Job]:
    """Every engine in every precision, on a window of the 3D network and on slices of the cascade."""
    from myotome.inference.engines import ENGINES as known

    image = bench.inputs.phantom()
    for repeat in range(min(bench.runs, 3)):
        for network in ("window", "slice"):
            for engine in ENGINES:
                for precision in [one for one in _PRECISIONS if one in known[engine].precisions]:
                    words = ("--network", network, "--engine", engine, "--precision", precision)
                    settings = {"network": network, "engine": engine, "precision": precision}
                    arguments = ("--image", str(image), *words, "--seconds", "2" if bench.quick else "8")
                    if bench.weights:
                        arguments += ("--weights", str(bench.weights))
                        settings["weights"] = digest_of_file(bench.weights)
                    name = f"{network} {engine} {precision}"
                    yield Job("engines", name, bench.inputs.name, "run_engines", arguments, settings, repeat)


def biomarkers(bench: Bench) -> Iterator[Job]:
    """One pass against per-label masks at 4, 20 and 60 structures."""
    image = bench.inputs.phantom()
    for repeat in range(bench.runs):
        for count in (4, 20, 60):
            arguments = ("--image", str(image), "--structures", str(count))
            settings = {"structures": count}
            name = f"{count} structures"
            yield Job("biomarkers", name, bench.inputs.name, "run_biomarkers", arguments, settings, repeat)


def training(bench: Bench) -> Iterator[Job]:
    """The zoo's recipe, with and without its augmentation, and ours, for the same time; on the GPU if there is one."""
    name, people = find_gpu(), "few" if bench.quick else "people"
    seconds, batch, moments = (120, 8, 8) if name else (1800, 4, 1)
    if bench.quick:
        seconds, batch, moments = 10, 2, 1
    words = ("--seconds", str(seconds), "--batch", str(batch), "--moments", str(moments))
    words += ("--quick",) * bench.quick
    arguments = ("--data", str(bench.folder / "training" / people), "--device", "cuda" if name else "cpu", *words)
    # The code of a run that is kept: digest_of_code leaves training out, which the other parts do not use.
    code = (CHECKOUT / "myotome" / "training" / "device_crops.py", CHECKOUT / "scripts" / "benchmarks" / "people.py")
    settings = {"words": " ".join(words), "gpu": name, "training": [digest_of_file(path) for path in code]}
    for repeat in range(min(bench.runs, 3 if name else 1)):
        for recipe in ("stock", "stock-augmented", "ours"):
            yield Job(
                "training",
                recipe,
                people,
                "run_training",
                ("--recipe", recipe, *arguments),
                settings,
                repeat,
                expected_s=seconds + (30.0 if name or bench.quick else 600.0),
                gpu=name is not None,
            )


def gpu(bench: Bench) -> Iterator[Job]:
    """The GPU's peaks, the networks' rates, and volumes from disk to disk; nothing where there is no GPU."""
    name = find_gpu()
    if name is None:
        return
    image, runs = bench.inputs.phantom(), str(bench.runs)
    arguments = ("--image", str(image), "--output", str(bench.folder / "labels" / "gpu"), "--runs", runs)
    settings = {"gpu": name, "runs": runs}
    if bench.weights:
        arguments += ("--weights", str(bench.weights))
        settings["weights"] = digest_of_file(bench.weights)
    yield Job("gpu", name, bench.inputs.name, "run_gpu", arguments, settings, expected_s=200.0, gpu=True)


PARTS: dict[str, Callable[[Bench], Iterator[Job]]] = {
    "roofline": roofline,
    "engines": engines,
    "biomarkers": biomarkers,
    "compare": compare,
    "cascade": cascade,
    "sizes": sizes,
    "classes": classes,
    "volumes": volumes,
    "shoulder": shoulder,
    "training": training,
    "gpu": gpu,
}
