"""What follows from the study's intervals, in sentences computed from them."""

from __future__ import annotations

import pandas as pd

from myotome.studies.pft.settings import Settings

__all__ = ["conclude"]

# A median raw r below this is small however much of it the covariates explain.
_WORTH_SAYING = 0.2


def conclude(table: pd.DataFrame, settings: Settings) -> list[str]:
    """Sentences on the partial correlations, on volume beside density, on raw beside partial, and on the correction.

    Parameters
    ----------
    table : of :func:`myotome.studies.pft.analysis.correlate_all`.
    """
    partial = table[(table["kind"] == "partial") & table["r"].notna()]
    if partial.empty:
        return ["No correlation could be given: there are too few people."]
    sentences = [_count_discoveries(partial, settings)]
    found = partial[partial["discovery"]]
    if len(found):
        sentences.append("Furthest from zero: " + "; ".join(_name(row, settings) for row in _strongest(found)) + ".")
    else:
        row = next(iter(_strongest(partial)))
        sentences.append(f"Furthest from zero is {_name(row, settings)}, which chance alone can explain.")
    sentences += _compare_measures(partial, settings)
    sentences += _compare_raw(table, partial)
    sentences += _weigh_correction(partial)
    return sentences


def _strongest(rows: pd.DataFrame, count: int = 3) -> list[pd.Series]:
    order = rows["r"].abs().sort_values(ascending=False, kind="stable").index[:count]
    return [rows.loc[place] for place in order]


def _name(row: pd.Series, settings: Settings) -> str:
    lung = {lung.name: lung.title for lung in settings.lung_function}[row["lung_function"]]
    estimate = f"partial r {row['r']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"
    if pd.notna(row["corrected_r"]):
        estimate += (
            f", corrected {row['corrected_r']:.2f} ({row['corrected_lower']:.2f} to {row['corrected_upper']:.2f})"
        )
    return f"{row['muscle'].replace('_', ' ')} {row['measure']} with {lung}, {estimate}, n = {row['n']:,}"


def _count_discoveries(partial: pd.DataFrame, settings: Settings) -> str:
    found = partial[partial["discovery"]]
    below = int((found["r"] < 0).sum())
    rate = f"{100 * settings.false_discovery_rate:g} %"
    signs = f" ({len(found) - below} positive, {below} negative)" if len(found) else ""
    return (
        f"Given age, sex and height, {len(found)} of {len(partial)} pairs of muscle and lung function are correlated "
        f"at a false-discovery rate of {rate}{signs}."
    )


def _compare_measures(partial: pd.DataFrame, settings: Settings) -> list[str]:
    """Volume beside density, by intervals that do not overlap (of the sizes, so for signs alike)."""
    names = [measure.name for measure in settings.muscle_measures]
    if len(names) != 2:
        return []
    sides = [partial[partial["measure"] == name].set_index(["muscle", "lung_function"]) for name in names]
    shared = sides[0].index.intersection(sides[1].index)
    first, second = (side.loc[shared] for side in sides)
    least = [_smallest_size(side) for side in (first, second)]
    most = [side[["lower", "upper"]].abs().max(axis=1) for side in (first, second)]
    wins = [int((least[0] > most[1]).sum()), int((least[1] > most[0]).sum())]
    return [
        f"The interval for {names[0]} lies further from zero than the whole interval for {names[1]} in {wins[0]} of "
        f"{len(shared)} pairs, the other way round in {wins[1]}; in the others they overlap."
    ]


def _smallest_size(side: pd.DataFrame) -> pd.Series:
    """The smallest distance from zero that the interval allows."""
    apart = (side["lower"] > 0) | (side["upper"] < 0)
    return side[["lower", "upper"]].abs().min(axis=1).where(apart, 0.0)


def _compare_raw(table: pd.DataFrame, partial: pd.DataFrame) -> list[str]:
    keys = ["muscle", "measure", "lung_function"]
    raw = table[table["kind"] == "raw"].set_index(keys)["r"]
    both = pd.concat([raw.rename("raw"), partial.set_index(keys)["r"].rename("partial")], axis=1).dropna()
    sentences = []
    for measure, part in both.groupby(level="measure", sort=False):
        before, after = part["raw"].abs().median(), part["partial"].abs().median()
        sentences.append(
            f"For {measure} the median size of r is {before:.2f} raw and {after:.2f} partial"
            + (
                ": most of the raw correlation is age, sex and height."
                if after < before / 2 and before >= _WORTH_SAYING
                else "."
            )
        )
    return sentences


def _weigh_correction(partial: pd.DataFrame) -> list[str]:
    known = partial[partial["reliability"].notna()]
    if known.empty:
        return ["No correction for measurement error was made."]
    worst, best = (known.loc[getattr(known["reliability"], end)()] for end in ("idxmin", "idxmax"))
    ends = [f"{row['reliability']:.2f} ({row['muscle'].replace('_', ' ')} {row['measure']})" for row in (worst, best)]
    return [
        f"Measurement error weakens the correlations: the reliability given age, sex and height is {ends[0]} to "
        f"{ends[1]}, by the pipeline's errors on phantoms. Its label maps are worse on people, so true correlations "
        "may lie further from zero than the corrected ones."
    ]
