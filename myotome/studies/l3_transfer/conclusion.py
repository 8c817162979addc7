"""What may be said: sentences computed from the tables and their intervals."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from myotome.studies.l3_transfer.analysis import Band, Scoring, rank_sources
from myotome.studies.l3_transfer.settings import StudySettings

__all__ = ["TITLES", "conclude"]

TITLES = {
    "scratch": "from scratch",
    "imagenet": "ImageNet classification",
    "segmentation": "natural-image segmentation",
    "reconstruction": "reconstruction",
    "jigsaw": "jigsaw",
    "phantom": "phantom segmentation",
}
"""How a reader calls the sources."""

_ALPHA = 0.05


def conclude(
    tables: dict[str, pd.DataFrame], bands: dict[str, Band], left_out: dict[str, str], settings: StudySettings
) -> list[str]:
    """One sentence each: the best source at the ends, the gain of each at the small n, who reaches the observers.

    Parameters
    ----------
    tables : ``summary``, ``comparisons``, ``needed`` and ``agreement`` of `myotome.studies.l3_transfer.analysis`
    bands : ``dice`` and ``rms_dta_mm``
    left_out : sources without weights, and why
    """
    scoring = Scoring(settings.structure)
    best = rank_sources(tables["summary"], scoring)[0]
    sentences = [_best(tables["summary"], best, scoring)]
    sentences += [_gains(tables["comparisons"], n, scoring) for n in settings.gain_sizes if n in settings.subset_sizes]
    sentences += [
        _needed(tables["needed"], bands["dice"], "dice"),
        _needed(tables["needed"], bands["rms_dta_mm"], "rms"),
    ]
    sentences.append(_agreement(tables["agreement"], best))
    sentences += [f"Left out: {TITLES[source]}, for {reason}" for source, reason in left_out.items()]
    return [sentence for sentence in sentences if sentence]


def _best(summary: pd.DataFrame, best: str, scoring: Scoring) -> str:
    part = summary[(summary["source"] == best) & (summary["over"] == "pooled")].set_index(["measure", "n"])
    ends = sorted({int(n) for n in part.index.get_level_values("n")})
    words = []
    for n in dict.fromkeys((ends[0], ends[-1])):
        row, away = part.loc[scoring.overlap, n], part.loc[scoring.distance, n]
        words.append(
            f"DSC {row['value']:.4f} ({row['lower']:.4f} to {row['upper']:.4f}) and RMS-DTA {away['value']:.2f} mm at "
            f"n = {n}"
        )
    return f"Best over all n is {TITLES[best]}: {'; '.join(words)}."


def _gains(comparisons: pd.DataFrame, n: int, scoring: Scoring) -> str:
    rows = comparisons[(comparisons["measure"] == scoring.overlap) & (comparisons["n"] == n)]
    if rows.empty:
        return ""
    ordered = rows.sort_values("value", ascending=False).to_dict("records")
    words = [
        f"{TITLES[row['source']]} {row['value']:+.4f} ({row['lower']:+.4f} to {row['upper']:+.4f}, {_p(row['p_holm'])})"
        for row in ordered
    ]
    better = [row for row in ordered if row["p_holm"] <= _ALPHA and row["lower"] > 0]
    count = f"{len(better)} of {len(ordered)} sources are" if better else "no source is"
    verdict = f"{count} better than scratch beyond chance"
    return (
        f"Gain in DSC over scratch at n = {n} (Wilcoxon, Holm over every source and n): {', '.join(words)}; {verdict}."
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _needed(needed: pd.DataFrame, band: Band, which: str) -> str:
    column = "dice" if which == "dice" else "rms_dta_mm"
    rows = needed[needed["measure"] == column].to_dict("records")
    reached = [f"{TITLES[row['source']]} {row['n']}{_sure(row)}" for row in rows if not pd.isna(row["n"])]
    never = [TITLES[row["source"]] for row in rows if pd.isna(row["n"])]
    edge = f"DSC of {band.low:.4f} or more" if which == "dice" else f"RMS-DTA of {band.high:.2f} mm or less"
    words = f"Fewest slices to the observers' band (mean {edge}): "
    words += ", ".join(reached) if reached else "no source gets there"
    return words + (f"; not reached: {', '.join(never)}." if reached and never else ".")


def _sure(row: dict) -> str:
    if pd.isna(row["n_sure"]):
        return " (its interval never)"
    return "" if row["n_sure"] == row["n"] else f" (its whole interval with {row['n_sure']})"


def _agreement(agreement: pd.DataFrame, best: str) -> str:
    part = agreement[agreement["source"] == best].sort_values("n")
    words = []
    for measure, title, unit in (("sma_cm2", "SMA", "cm2"), ("smd_hu", "SMD", "HU")):
        for row in _ends(part[part["measure"] == measure].to_dict("records")):
            if pd.isna(row["bias"]) or pd.isna(row["icc"]):
                continue
            words.append(
                f"{title} at n = {row['n']}: bias {row['bias']:+.2f} {unit}, limits {row['lower_limit']:+.2f} to "
                f"{row['upper_limit']:+.2f}, ICC(2,1) {row['icc']:.3f}"
            )
    return f"Agreement with the reference, {TITLES[best]}. {'; '.join(words)}." if words else ""


def _ends(rows: list[dict]) -> Iterable[dict]:
    return rows[:1] if len(rows) < 2 else (rows[0], rows[-1])
