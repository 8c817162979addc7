"""Two measurements of the same cases, what they are called, and how well they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from myotome.errors import InputError
from myotome.statistics.agreement import (
    BlandAltman,
    Concordance,
    IntraclassCorrelation,
    LeastSignificantChange,
    compute_bland_altman,
    compute_concordance,
    compute_intraclass_correlation,
    compute_least_significant_change,
)
from myotome.statistics.deming import fit_deming
from myotome.statistics.intervals import Estimate, Line

__all__ = ["ALL", "Agreement", "Comparison", "compute_agreement", "compute_agreements", "format_unit", "make_row"]

ALL = "all"
# Quantities whose zero is a convention, or that are percent already: percent of them would mislead.
_NOT_IN_PERCENT = frozenset({"hu", "[hnsf'u]", "%", "percent"})
_UNIT_SIGNS = {"[hnsf'U]": "HU", "cm2": "cm²", "mm2": "mm²", "mm3": "mm³", "cm3": "cm³", "1": ""}


@dataclass(frozen=True, eq=False)
class Comparison:
    """One measure of the same cases, twice: ``a[i]`` and ``b[i]`` of ``case_ids[i]``, NaN where one is missing.

    ``unit`` is that of both, as in the tables, or empty when they name none; ``groups`` names each case's subgroup;
    ``a_name`` and ``b_name`` say whose values they are.

    Raises
    ------
    InputError
        When the lengths are unequal, or a value is infinite.
    """

    measure: str
    unit: str
    case_ids: tuple[str, ...]
    a: np.ndarray
    b: np.ndarray
    groups: tuple[str, ...] = ()
    a_name: str = "A"
    b_name: str = "B"

    def __post_init__(self) -> None:
        object.__setattr__(self, "case_ids", tuple(str(case_id) for case_id in self.case_ids))
        for name in ("a", "b"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, values)
            if values.shape != (len(self.case_ids),):
                raise InputError(f"{self.measure}: {values.size} values for {len(self.case_ids)} cases: give one each.")
            if np.isinf(values).any():
                raise InputError(f"{self.measure}: a value is infinite, which no measurement is: correct the table.")
        if self.groups and len(self.groups) != len(self.case_ids):
            raise InputError(
                f"{self.measure}: {len(self.groups)} groups for {len(self.case_ids)} cases: name one each."
            )

    @property
    def complete(self) -> np.ndarray:
        """(cases,) bool: both values are there."""
        return np.isfinite(self.a) & np.isfinite(self.b)

    @property
    def group_names(self) -> tuple[str, ...]:
        """Each subgroup once, sorted."""
        return tuple(sorted(set(self.groups)))

    def take(self, chosen: np.ndarray) -> Comparison:
        """The comparison of the cases that ``chosen``, (cases,) bool, keeps."""
        places = np.flatnonzero(chosen)
        groups = tuple(self.groups[place] for place in places) if self.groups else ()
        ids = tuple(self.case_ids[place] for place in places)
        return replace(self, case_ids=ids, a=self.a[chosen], b=self.b[chosen], groups=groups)


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well the two sides of a comparison agree, over ``cases`` with both values; ``group`` is `ALL` or a subgroup.

    What cannot be given is ``None``, and ``reasons`` says why. Differences are b - a. ``percentiles`` are the 2.5th and
    97.5th of the differences, which hold whatever their distribution; ``percent`` repeats Bland-Altman in percent.
    """

    comparison: Comparison
    group: str
    cases: int
    missing_a: int
    missing_b: int
    bland_altman: BlandAltman | None = None
    percent: BlandAltman | None = None
    percentiles: tuple[float, float] | None = None
    icc: IntraclassCorrelation | None = None
    concordance: Concordance | None = None
    change: LeastSignificantChange | None = None
    deming: Line | None = None
    reasons: tuple[str, ...] = field(default=())


def compute_agreements(comparisons: Sequence[Comparison]) -> list[Agreement]:
    """Agreement of every comparison, each followed by that of its subgroups."""
    agreements = []
    for comparison in comparisons:
        agreements.append(compute_agreement(comparison))
        for name in comparison.group_names:
            chosen = np.array([group == name for group in comparison.groups])
            agreements.append(compute_agreement(comparison.take(chosen), name))
    return agreements


def compute_agreement(comparison: Comparison, group: str = ALL) -> Agreement:
    """Every statistic of one comparison that its values allow; nothing raises for too few or too equal values."""
    complete = comparison.complete
    a, b = comparison.a[complete], comparison.b[complete]
    reasons: list[str] = []

    def attempt(compute: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return compute(*arguments, **options)
        except InputError as error:
            if str(error) not in reasons:
                reasons.append(str(error))
            return None

    bland_altman = attempt(compute_bland_altman, a, b)
    relative = comparison.unit.lower() not in _NOT_IN_PERCENT and len(a) > 0 and min(a.min(), b.min()) > 0
    found = {} if bland_altman is None else _compute_more(a, b, attempt)
    return Agreement(
        comparison=comparison,
        group=group,
        cases=len(a),
        missing_a=int(np.isnan(comparison.a).sum()),
        missing_b=int(np.isnan(comparison.b).sum()),
        bland_altman=bland_altman,
        percent=compute_bland_altman(a, b, percent=True) if relative and bland_altman else None,
        change=_change(a, b, relative) if bland_altman else None,
        reasons=tuple(reasons),
        **found,
    )


def _compute_more(a: np.ndarray, b: np.ndarray, attempt: Any) -> dict[str, Any]:
    pairs = np.column_stack([a, b])
    return {
        "icc": attempt(compute_intraclass_correlation, pairs),
        "concordance": attempt(compute_concordance, a, b),
        "deming": attempt(fit_deming, a, b),
        "percentiles": tuple(float(edge) for edge in np.quantile(b - a, (0.025, 0.975))),
    }


def _change(a: np.ndarray, b: np.ndarray, relative: bool) -> LeastSignificantChange:
    change = compute_least_significant_change(np.column_stack([a, b]))
    return change if relative else replace(change, rms_cv_percent=None, change_percent=None)


def format_unit(unit: str) -> str:
    """A unit as a reader writes it: ``HU`` for UCUM's ``[hnsf'U]``, ``cm²`` for ``cm2``."""
    return _UNIT_SIGNS.get(unit, unit)


def make_row(agreement: Agreement) -> dict[str, Any]:
    """One row of the table of agreements, keys to plain values, ``None`` for what cannot be given."""
    comparison, bland = agreement.comparison, agreement.bland_altman
    complete = comparison.complete
    known = agreement.cases > 0
    row: dict[str, Any] = {
        "measure": comparison.measure,
        "unit": comparison.unit,
        "a": comparison.a_name,
        "b": comparison.b_name,
        "group": agreement.group,
        "n": agreement.cases,
        "missing_a": agreement.missing_a,
        "missing_b": agreement.missing_b,
        "mean_a": float(comparison.a[complete].mean()) if known else None,
        "mean_b": float(comparison.b[complete].mean()) if known else None,
    }
    row |= _spread("bias", bland and bland.bias)
    row["sd_of_differences"] = bland and bland.sd
    row |= _spread("lower_limit", bland and bland.lower_limit) | _spread("upper_limit", bland and bland.upper_limit)
    edges = agreement.percentiles or (None, None)
    row |= {"percentile_2_5": edges[0], "percentile_97_5": edges[1]}
    line = bland and bland.line
    row |= _spread("proportional_bias", line and line.slope) | {"proportional_bias_p": line and line.slope_p}
    percent = agreement.percent
    row |= _spread("bias_percent", percent and percent.bias)
    row |= {
        "lower_limit_percent": percent and percent.lower_limit.value,
        "upper_limit_percent": percent and percent.upper_limit.value,
    }
    icc, ccc, change, deming = agreement.icc, agreement.concordance, agreement.change, agreement.deming
    row |= _spread("icc_2_1", icc and icc.agreement) | _spread("icc_3_1", icc and icc.consistency)
    row |= _spread("ccc", ccc and ccc.coefficient)
    row |= {"rms_sd": change and change.rms_sd, "lsc": change and change.change}
    row |= {"rms_cv_percent": change and change.rms_cv_percent, "lsc_percent": change and change.change_percent}
    row |= _spread("deming_slope", deming and deming.slope) | _spread("deming_intercept", deming and deming.intercept)
    return row | {"not_given": " ".join(agreement.reasons)}


def _spread(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    values = (estimate.value, estimate.lower, estimate.upper) if estimate else (None, None, None)
    return dict(zip((name, f"{name}_lower", f"{name}_upper"), values, strict=True))
