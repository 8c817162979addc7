"""Markdown tables of the finished runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any

from benchmarks.ledger import Ledger
from benchmarks.parts import OURS, PEERS

__all__ = ["TITLES", "count_slices", "group", "paired_ratios", "read_bars", "slope", "write_summary"]

Record = dict[str, Any]

TITLES = {
    "stock": "(a) stock MONAI",
    "nnunet": "(b) nnU-Net v2",
    "totalsegmentator": "(c) TotalSegmentator's order",
}
_STAGES = ("open", "load", "preprocess", "network", "postprocess", "save", "other")


def write_summary(ledger: Ledger) -> str:
    """Every part that has results, then the bars."""
    tables = {**_TABLES, "engines": partial(_engines, peaks=_peaks(ledger.latest("roofline")))}
    parts = [text for name, tabulate in tables.items() if (text := _section(ledger, name, tabulate))]
    bars = read_bars(ledger)
    if bars:
        rows = [[name, wanted, found, "met" if met else "**missed**"] for name, wanted, found, met in bars]
        parts.append("## Bars\n\n" + _table(("bar", "wanted", "measured", ""), rows))
    return "# Benchmark\n\n" + "\n\n".join(parts or ["Nothing was measured yet."]) + "\n"


def _section(ledger: Ledger, part: str, tabulate: Callable[[list[Record]], str]) -> str:
    records = ledger.latest(part)
    if not records:
        return ""
    return f"## {part.capitalize()}\n\n{_origin(records)}\n\n{tabulate(records)}"


def _origin(records: list[Record]) -> str:
    machine = records[0]["machine"]
    libraries: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, number in record["result"].get("versions", {}).items():
            libraries[name].add(number)
    versions = ", ".join(f"{name} {'/'.join(sorted(numbers))}" for name, numbers in sorted(libraries.items()))
    commits = ", ".join(sorted({record["commit"] for record in records}))
    weights = {record["settings"].get("weights") for record in records if "words" in record["settings"]}
    untrained = ", untrained network" if weights == {None} and records[0]["part"] != "cascade" else ""
    busiest = max(record["load_before"] for record in records)
    return (
        f"{machine['processor']} ({machine['family']}), {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{' '.join(machine['flags'])}; {machine['system']}; commit {commits}{untrained}; {versions}; "
        f"load before a run at most {busiest}."
    )


def group(records: Iterable[Record], *names: str) -> dict[tuple, list[Record]]:
    """Records by the values of some of their fields, in order of first appearance."""
    groups: dict[tuple, list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(record[name] for name in names)].append(record)
    return groups


def _middle(records: list[Record], read: Callable[[Record], float]) -> float:
    return median(read(record["result"]) for record in records)


def _range(values: Sequence[float], digits: int = 1) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def paired_ratios(records: list[Record], peer: str, ours: str) -> list[float]:
    """Wall time of a peer divided by that of the run of ours right after it, per repeat."""
    slow = {r["repeat"]: r["result"]["wall_s"] for r in records if r["name"] == peer}
    fast = {r["repeat"]: r["result"]["wall_s"] for r in records if r["name"] == ours and r["after"] == peer}
    return [slow[repeat] / fast[repeat] for repeat in sorted(slow.keys() & fast.keys())]


def _compare(records: list[Record]) -> str:
    texts = []
    for (source,), some in group(records, "input").items():
        texts.append(f"### {source}\n\n{_pipelines(some)}\n\n{_ratios(some)}\n\n{_stages(some)}")
    return "\n\n".join(texts)


def _pipelines(records: list[Record]) -> str:
    rows = []
    for (name,), some in group(records, "name").items():
        network = _middle(some, lambda r: r["seconds"].get("network", 0.0))
        outside = _middle(some, lambda r: 1 - r["seconds"].get("network", 0.0) / r["wall_s"])
        agreement = next((r["result"]["agreement"] for r in some if "agreement" in r["result"]), None)
        rows.append(
            [
                _title(name, some),
                len(some),
                _range([r["result"]["wall_s"] for r in some]),
                f"{_middle(some, lambda r: r['cpu_s']):.1f}",
                f"{network:.1f}",
                f"{100 * outside:.0f} %",
                f"{_middle(some, lambda r: r['peak_above_imports_mb']) / 1024:.2f}",
                f"{_middle(some, lambda r: r['peak_mb']) / 1024:.2f}",
                *_agreement_cells(agreement),
            ]
        )
    head = ("pipeline", "runs", "wall s", "CPU s", "network s", "outside network", "peak above imports GB")
    return _table((*head, "peak GB", "Dice with (a)", "lowest class", "equal voxels"), rows)


def _title(name: str, records: list[Record]) -> str:
    """Of a pipeline, with the engine that ran and what was refused for it."""
    result = records[0]["result"]
    told = "; ".join([*filter(None, [result.get("engine")]), *result.get("notes", [])])
    return TITLES.get(name, name) + (f" ({told})" if told else "")


def _agreement_cells(agreement: dict[str, Any] | None) -> list[str]:
    if agreement is None:
        return ["", "", ""]
    lowest = min(agreement["dice"].values(), default=1.0)
    return [f"{agreement['pooled']:.4f}", f"{lowest:.4f}", f"{agreement['equal']:.5f}"]


def _ratios(records: list[Record]) -> str:
    rows = []
    for peer in PEERS:
        ratios = [paired_ratios(records, peer, ours) for ours in OURS]
        rows.append([f"{TITLES[peer]} / ...", *[_range(values) if values else "" for values in ratios]])
    return _table(("times slower, neighbouring runs", *OURS), rows)


def _stages(records: list[Record]) -> str:
    groups = group(records, "name")
    used = {stage for some in groups.values() for stage in some[0]["result"]["seconds"]}
    stages = [*[s for s in _STAGES if s in used], *sorted(used - set(_STAGES))]
    rows = [
        [TITLES.get(name, name), *[f"{_middle(some, lambda r, s=s: r['seconds'].get(s, 0.0)):.2f}" for s in stages]]
        for (name,), some in groups.items()
    ]
    return _table(("seconds", *stages), rows) + "\n\n" + _steps(groups)


def _steps(groups: dict[tuple, list[Record]]) -> str:
    rows = []
    for (name,), some in groups.items():
        steps = some[0]["result"]["steps"]
        taken = {step: _middle(some, lambda r, s=step: r["steps"].get(s, 0.0)) for step in steps}
        longest = sorted(taken, key=taken.get, reverse=True)
        if taken:
            rows.append([TITLES.get(name, name), ", ".join(f"{step} {taken[step]:.2f}" for step in longest)])
    return _table(("pipeline", "its own steps, seconds"), rows) if rows else ""


def _cascade(records: list[Record]) -> str:
    rows = []
    for (source, name), some in group(records, "input", "name").items():
        seconds = {s: _middle(some, lambda r, s=s: r["seconds"].get(s, 0.0)) for s in some[0]["result"]["seconds"]}
        walls = [r["result"]["wall_s"] for r in some]
        spent = ", ".join(f"{stage} {value:.2f}" for stage, value in {**seconds, **_own_steps(some)}.items())
        memory = f"{_middle(some, lambda r: r['peak_above_imports_mb']) / 1024:.2f}"
        rows.append([_title(f"{source} {name}", some), len(some), _range(walls), memory, spent])
    lines = [f"Whole cascade / first network, {key}: {_range(values, 2)}." for key, values in _cascade_ratios(records)]
    return _table(("run", "runs", "wall s", "peak above imports GB", "seconds"), rows) + "\n\n" + "\n".join(lines)


def _own_steps(records: list[Record]) -> dict[str, float]:
    steps = records[0]["result"]["steps"]
    return {f"({step})": _middle(records, lambda r, s=step: r["steps"].get(s, 0.0)) for step in steps}


def _cascade_ratios(records: list[Record]) -> list[tuple[str, list[float]]]:
    """Per precision, the ratio of each repeat's whole cascade and first network."""
    walls = {(r["name"], r["repeat"]): r["result"]["wall_s"] for r in records}
    ratios: dict[str, list[float]] = defaultdict(list)
    for (name, repeat), wall in walls.items():
        if name.startswith("whole cascade "):
            precision = name.removeprefix("whole cascade ")
            if alone := walls.get((f"first network {precision}", repeat)):
                ratios[precision].append(wall / alone)
    return list(ratios.items())


def count_slices(record: Record) -> int:
    """Slices of a record's phantom, which stand at the end of its name (the small one has 60)."""
    last = record["input"].rpartition("_")[2]
    return int(last) if last.isdigit() else 60


def slope(records: list[Record]) -> float:
    """Growth of the peak above imports with slices, MB per slice, by least squares through the medians."""
    points = [
        (count_slices(some[0]), _middle(some, lambda r: r["peak_above_imports_mb"])) for some in _by_input(records)
    ]
    if len(points) < 2:
        return float("nan")
    x, y = ([p[i] for p in points] for i in (0, 1))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in points) / sum((a - mean_x) ** 2 for a in x)


def _by_input(records: list[Record]) -> list[list[Record]]:
    return sorted(group(records, "input").values(), key=lambda some: count_slices(some[0]))


def _bytes_per_slice_mb(record: Record) -> float:
    return (120**2 if record["input"].startswith("small") else 512**2) * 2 / 2**20


def _sizes(records: list[Record]) -> str:
    rows, lines = [], []
    for (name,), same in group(records, "name").items():
        for some in _by_input(same):
            wall = _middle(some, lambda r: r["wall_s"])
            memory = _middle(some, lambda r: r["peak_above_imports_mb"])
            slices = count_slices(some[0])
            each = f"{1000 * wall / slices:.0f}"
            peak = f"{_middle(some, lambda r: r['peak_mb']):.0f}"
            rows.append([f"{name}, {slices} slices", len(some), f"{wall:.1f}", each, f"{memory:.0f}", peak])
        lines.append(
            f"{name}: the peak above imports grows by {slope(same):.2f} MB per slice; a slice of the input is "
            f"{_bytes_per_slice_mb(same[0]):.2f} MB (int16)."
        )
    head = ("run", "runs", "wall s", "ms per slice", "peak above imports MB", "peak MB")
    return _table(head, rows) + "\n\n" + "\n".join(lines)


def _classes(records: list[Record]) -> str:
    rows = []
    for some in sorted(_by_classes(records), key=lambda some: some[0]["settings"]["classes"]):
        wall = _range([r["result"]["wall_s"] for r in some])
        memory = f"{_middle(some, lambda r: r['peak_above_imports_mb']):.0f}"
        network = f"{_middle(some, lambda r: r['seconds'].get('network', 0.0)):.1f}"
        rows.append([some[0]["settings"]["classes"], len(some), wall, network, memory])
    return _table(("classes", "runs", "wall s", "network s", "peak above imports MB"), rows)


def _by_classes(records: list[Record]) -> list[list[Record]]:
    groups: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        groups[record["settings"]["classes"]].append(record)
    return list(groups.values())


def _volumes(records: list[Record]) -> str:
    rows = []
    for (name,), some in group(records, "name").items():
        first = [r["result"]["seconds"].get("open", 0.0) + r["result"]["laps_s"][0] for r in some]
        warm = [lap for r in some for lap in r["result"]["laps_s"][1:]]
        memory = f"{_middle(some, lambda r: r['peak_above_imports_mb']) / 1024:.2f}"
        rows.append([name, len(some), _range(first), _range(warm), memory])
    return _table(("run", "runs", "first image s", "warm image s", "peak above imports GB"), rows)


def _roofline(records: list[Record]) -> str:
    names = records[0]["result"]["rates"]
    rows = [[name, f"{max(r['result']['rates'].get(name, 0.0) for r in records):.0f}"] for name in names]
    return _table(("best measured", "GFLOP/s (a multiply-add is two)"), rows)


def _peaks(records: list[Record]) -> dict[str, float]:
    """Highest measured GFLOP/s of each precision, whatever the library and the operation."""
    peaks: dict[str, float] = {}
    for record in records:
        for name, rate in record["result"]["rates"].items():
            precision = name.rpartition(" ")[2]
            peaks[precision] = max(peaks.get(precision, 0.0), rate)
    return peaks


def _engines(records: list[Record], peaks: dict[str, float]) -> str:
    rows = []
    for some in group(records, "name").values():
        settings, result = some[0]["settings"], some[0]["result"]
        rate = _middle(some, lambda r: r["gflop_per_s"])
        peak = peaks.get(settings["precision"])
        opening = _middle(some, lambda r: r["seconds"]["open"] + r["seconds"]["first call"])
        rows.append(
            [
                f"{settings['network']}, {settings['engine']}, {settings['precision']}",
                f"{_middle(some, lambda r: r['ms']):.1f}",
                f"{result['gflop']:.1f}",
                f"{rate:.0f}",
                f"{100 * rate / peak:.0f} %" if peak else "",
                f"{opening:.1f}",
                f"{_middle(some, lambda r: r['peak_above_imports_mb']):.0f}",
                f"{result['pooled']:.5f}",
                f"{result['equal']:.6f}",
            ]
        )
    head = ("network, engine, precision", "ms each", "GFLOP each", "GFLOP/s", "of the measured peak", "opening s")
    return _table((*head, "peak above imports MB", "Dice with eager", "equal labels"), rows)


def _biomarkers(records: list[Record]) -> str:
    rows = []
    for (name,), some in group(records, "name").items():
        once, masks, ratio = ([r["result"][key] for r in some] for key in ("once_s", "masks_s", "ratio"))
        exact = all(r["result"]["counts_equal"] for r in some)
        difference = max(r["result"]["largest_difference_hu"] for r in some)
        cells = [name, len(some), _range(once, 2), _range(masks, 2), _range(ratio), "yes" if exact else "**no**"]
        rows.append([*cells, f"{difference:.1e}"])
    head = ("", "runs", "one pass s", "mask per label s", "ratio", "counts equal", "largest difference of a value HU")
    return _table(head, rows)


def _training(records: list[Record]) -> str:
    rows = []
    for (name,), some in group(records, "name").items():
        result, last = some[0]["result"], [r["result"]["moments"][-1] for r in some]
        classes = " / ".join(f"{median(values):.3f}" for values in zip(*(m["dice"] for m in last), strict=True))
        memory = [r["result"]["peak_gpu_gb"] for r in some if r["result"]["peak_gpu_gb"] is not None]
        rows.append(
            [
                f"{name} ({result['precision']}, {result['optimiser']}, {result['device']})",
                len(some),
                f"{_middle(some, lambda r: r['setup_s']):.1f}",
                f"{_middle(some, lambda r: r['training_s']):.0f}",
                f"{_middle(some, lambda r: r['steps_done']):.0f}",
                f"{1000 * _middle(some, lambda r: r['step_s']):.1f}",
                f"{1000 * _middle(some, lambda r: r['median_step_s']):.1f}",
                f"{_middle(some, lambda r: r['samples_per_s']):.1f}",
                f"{median(m['mean'] for m in last):.4f}",
                f"{median(m['pooled'] for m in last):.4f}",
                classes,
                f"{median(memory):.1f}" if memory else "",
            ]
        )
    head = ("recipe", "runs", "set-up s", "training s", "steps", "ms per step", "median step ms", "crops per s")
    table = _table((*head, "mean Dice", "pooled Dice", "Dice of each class", "peak GPU GB"), rows)
    lines = [
        f"Ours against {peer}: a step {_range(steps)} times faster; the mean Dice {peer} ends with after "
        f"{_range(times)} times less time."
        if times
        else f"Ours against {peer}: a step {_range(steps)} times faster; the mean Dice {peer} ends with is not reached."
        for peer, steps, times, _ in _training_ratios(records)
    ]
    return f"{table}\n\n{_training_moments(records)}\n\n" + "\n".join(lines)


def _training_moments(records: list[Record]) -> str:
    """Mean Dice of the classes at each moment that was validated, of the first run of each recipe."""
    firsts = [some[0] for some in group(records, "name").values()]
    rows = [[r["name"], ", ".join(f"{m['mean']:.3f} ({m['s']:.0f} s)" for m in r["result"]["moments"])] for r in firsts]
    return _table(("recipe", "mean Dice at seconds of training"), rows)


def _training_ratios(records: list[Record]) -> list[tuple[str, list[float], list[float], list[float]]]:
    """Per stock recipe and paired by repeat: times faster a step is, times less time to its Dice, Dice won at the end.

    The time to its Dice is that of the first validated moment at which ours has at least what it ends with.
    """
    results = {(r["name"], r["repeat"]): r["result"] for r in records}
    found = []
    for peer in dict.fromkeys(r["name"] for r in records if r["name"] != "ours"):
        steps, times, won = [], [], []
        for (name, repeat), theirs in results.items():
            ours = results.get(("ours", repeat))
            if name != peer or ours is None:
                continue
            last = theirs["moments"][-1]
            steps.append(theirs["step_s"] / ours["step_s"])
            won.append(ours["moments"][-1]["mean"] - last["mean"])
            times += [last["s"] / m["s"] for m in ours["moments"] if m["mean"] >= last["mean"]][:1]
        if steps:
            found.append((peer, steps, times, won))
    return found


def _gpu(records: list[Record]) -> str:
    result = records[-1]["result"]
    peaks = ", ".join(f"{name} {rate:.0f}" for name, rate in result["peaks TFLOP/s"].items())
    rates = ", ".join(
        f"{name} {row['TFLOP/s']:.1f}" for name, row in result["network TFLOP/s"].items() if "TFLOP/s" in row
    )
    head = ("warm s", "read s", "segment s", "write s", "in flight s", "GPU GB", "equal", "Dice")
    rows = [
        [name, row.get("engine", row.get("error", "")), *(row.get(column, "") for column in head)]
        for name, row in result["volumes"].items()
    ]
    return f"{_table(('asked for', 'engine', *head), rows)}\n\nTFLOP/s: {peaks}; the 3D network: {rates}."


_TABLES: dict[str, Callable[[list[Record]], str]] = {
    "compare": _compare,
    "cascade": _cascade,
    "sizes": _sizes,
    "classes": _classes,
    "volumes": _volumes,
    "shoulder": _volumes,
    "roofline": _roofline,
    "biomarkers": _biomarkers,
    "training": _training,
    "gpu": _gpu,
}


Bar = tuple[str, str, str, bool]


def read_bars(ledger: Ledger) -> list[Bar]:
    """Each bar that was measured: its name, what is wanted, what was found, and whether it is met."""
    bars: list[Bar] = []
    for (source,), some in group(ledger.latest("compare"), "input").items():
        bars += _speed_bars(source, some)
        bars += _frugal_bars(source, some)
    for precision, ratios in _cascade_ratios(ledger.latest("cascade")):
        bars.append(_at_most(f"whole cascade / first network, {precision}", 2, median(ratios), " times"))
    for (name,), some in group(ledger.latest("sizes"), "name").items():
        bars.append(_at_most(f"{name}: growth per slice", _bytes_per_slice_mb(some[0]), slope(some), " MB"))
        longest = _by_input(some)[-1]
        peak = _middle(longest, lambda r: r["peak_above_imports_mb"]) / 1024
        bars.append(_at_most(f"{name}: peak above imports, {count_slices(longest[0])} slices", 2, peak, " GB"))
    for (name,), some in group(ledger.latest("biomarkers"), "name").items():
        if name == "20 structures":
            bars.append(_at_least(f"biomarkers, {name}", 20, _middle(some, lambda r: r["ratio"]), " times"))
    if some := ledger.latest("shoulder"):
        warm = median(lap for record in some for lap in record["result"]["laps_s"][1:])
        bars.append(_at_most("shoulder, one slice, DICOM to all outputs", 1, warm, " s"))
    if some := ledger.latest("gpu"):
        warm = [row["warm s"] for row in some[-1]["result"]["volumes"].values() if "warm s" in row]
        bars.append(_at_most("GPU, a volume from disk to labels on disk, warm", 2, min(warm), " s"))
    for peer, steps, _, won in _training_ratios(ledger.latest("training")):
        bars.append(_at_least(f"training step, ours against {peer}", 3, median(steps), " times faster"))
        bars.append(_at_least(f"training, ours against {peer}: mean Dice won in the same time", 0, median(won), "", 4))
    return bars


def _speed_bars(source: str, records: list[Record]) -> Iterator[Bar]:
    wanted = {
        ("ours bfloat16", "stock"): 8,
        ("ours bfloat16", "nnunet"): 6,
        ("ours bfloat16", "totalsegmentator"): 6,
        ("ours float32", "stock"): 5,
        ("ours do-less", "stock"): 15,
    }
    for (ours, peer), least in wanted.items():
        if ratios := paired_ratios(records, peer, ours):
            yield _at_least(f"{source}: {ours} against {TITLES[peer]}", least, median(ratios), " times faster")
    for ours, least in {"ours float32": 0.999, "ours bfloat16": 0.999, "ours do-less": 0.995}.items():
        found = [
            r["result"]["agreement"]["pooled"] for r in records if r["name"] == ours and "agreement" in r["result"]
        ]
        if found:
            yield _at_least(f"{source}: {ours}, Dice with (a)", least, min(found), "", digits=4)


def _frugal_bars(source: str, records: list[Record]) -> Iterator[Bar]:
    for (name,), some in group(records, "name").items():
        if name in OURS:
            peak = _middle(some, lambda r: r["peak_above_imports_mb"]) / 1024
            yield _at_most(f"{source}: {name}, peak above imports", 1, peak, " GB")
            outside = _middle(some, lambda r: 100 * (1 - r["seconds"].get("network", 0.0) / r["wall_s"]))
            yield _at_most(f"{source}: {name}, outside the network", 10, outside, " %")


def _at_least(name: str, wanted: float, found: float, unit: str, digits: int = 1) -> Bar:
    return name, f">= {wanted:g}{unit}", f"{found:.{digits}f}{unit}", found >= wanted


def _at_most(name: str, wanted: float, found: float, unit: str) -> Bar:
    return name, f"<= {wanted:g}{unit}", f"{found:.2f}{unit}", found <= wanted
