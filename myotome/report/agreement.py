"""A folder that says how well two measurements of the same cases agree: table, pictures, page and PDF."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myotome import __version__
from myotome.errors import InputError, OutputError
from myotome.io.atomic import atomic_folder, atomic_path
from myotome.report.agreement_figures import draw_agreement, format_number, pick_decimals
from myotome.report.comparisons import ALL, Agreement, Comparison, compute_agreements, format_unit, make_row
from myotome.report.pages import render_page, write_page, write_pdf
from myotome.statistics.intervals import Estimate

__all__ = ["Comparison", "describe", "write_agreement"]

_DIGITS = 10
_DPI = 110
_WORST = 8
_MOST_SECTIONS = 40
_RATIO_DECIMALS = 3


def write_agreement(
    output: Path | str,
    comparisons: Sequence[Comparison],
    title: str,
    notes: Sequence[str] = (),
) -> list[Agreement]:
    """Compute the agreement of every comparison and write it to a new folder, which appears complete or not at all.

    ``agreement.csv`` has one row per measure and subgroup (`myotome.report.comparisons.make_row`, ten digits),
    ``figures/`` one PNG per measure, ``report.html`` (self-contained) and ``report.pdf`` show both with the cases that
    agree worst. Without Pango there is no PDF.

    Parameters
    ----------
    output : folder, absent or empty
    comparisons : one per measure, `myotome.report.pairing.pair_measurements` makes them
    title : what is compared with what
    notes : sentences that a reader must know: who was left out, and why

    Returns
    -------
    list of Agreement : as in the table, each measure followed by its subgroups

    Raises
    ------
    InputError
        When there is nothing to compare.
    OutputError
        When the folder holds files or cannot be written.
    """
    if not comparisons:
        raise InputError("there is no measure to compare: give tables that share one.")
    output = Path(output)
    _require_new(output)
    agreements = compute_agreements(comparisons)
    with atomic_folder(output) as folder:
        _write_table(folder / "agreement.csv", agreements)
        shown, left_out = _choose_shown(agreements)
        sections = _make_sections(shown, folder / "figures")
        values = _page_values(agreements, sections, title, [*notes, *left_out])
        page = render_page("agreement.html.j2", **values)
        write_page(folder / "report.html", page)
        write_pdf(folder / "report.pdf", page)
    return agreements


def _require_new(output: Path) -> None:
    """Refuse a folder that holds files before anything is computed."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"'{output}' already exists: remove it or choose another folder.")


def describe(agreement: Agreement) -> list[str]:
    """What the numbers of one comparison say, as sentences; nothing that its intervals do not carry."""
    bland, comparison = agreement.bland_altman, agreement.comparison
    if bland is None:
        return list(agreement.reasons)
    unit, decimals = format_unit(comparison.unit), pick_decimals(bland.sd)
    bias, more = bland.bias, _relative(agreement)
    span = f"95 % interval {_range(bias, decimals)}"
    if bias.lower <= 0 <= bias.upper:
        sentences = [
            f"No difference between b and a is shown on average: {_quantity(bias.value, decimals, unit)} ({span})."
        ]
    else:
        word = "more" if bias.value > 0 else "less"
        sentences = [f"On average b is {_quantity(abs(bias.value), decimals, unit)}{more} {word} than a ({span})."]
    low, high = (format_number(limit.value, decimals) for limit in (bland.lower_limit, bland.upper_limit))
    outside = _count_outside(agreement)
    sentences.append(
        f"The limits of agreement are {low} to {_after(high, unit)}; {outside} of {agreement.cases} cases lie outside."
    )
    slope = bland.line.slope if bland.line else None
    if slope is not None and bland.sd > 0 and not slope.lower <= 0 <= slope.upper:
        per = f" {unit} per {unit}" if unit else ""
        sentences.append(
            f"The difference changes with the size, by {format_number(slope.value, 3)}{per} (95 % interval "
            f"{_range(slope, 3)}), so that one pair of limits does not fit small and large alike."
        )
    return [*sentences, *(f"Not given: {reason}" for reason in agreement.reasons)]


# -- the table -------------------------------------------------------------------------------------------------------


def _write_table(path: Path, agreements: Sequence[Agreement]) -> None:
    rows = [make_row(agreement) for agreement in agreements]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else value


# -- the page --------------------------------------------------------------------------------------------------------


def _page_values(
    agreements: Sequence[Agreement], sections: Sequence[dict[str, Any]], title: str, notes: Sequence[str]
) -> dict[str, Any]:
    names = {(agreement.comparison.a_name, agreement.comparison.b_name) for agreement in agreements}
    return {
        "title": title,
        "notes": notes,
        "sides": next(iter(names)) if len(names) == 1 else None,
        "rows": [_summary(agreement) for agreement in agreements],
        "sections": sections,
        "version": __version__,
    }


def _summary(agreement: Agreement) -> dict[str, Any]:
    """One row of the page's table: pairs of a value and what stands below it."""
    comparison, bland = agreement.comparison, agreement.bland_altman
    row = {
        "measure": comparison.measure,
        "unit": format_unit(comparison.unit),
        "names": (comparison.a_name, comparison.b_name),
        "group": "" if agreement.group == ALL else agreement.group,
        "n": agreement.cases,
        "missing": len(comparison.case_ids) - agreement.cases,
        "cells": None,
        "reason": " ".join(agreement.reasons),
    }
    if bland is None:
        return row
    decimals = pick_decimals(bland.sd)
    icc, ccc, change = agreement.icc, agreement.concordance, agreement.change
    row["cells"] = [
        _estimate(bland.bias, decimals),
        _limits(agreement, decimals),
        _percent_limits(agreement),
        _estimate(bland.line.slope, _RATIO_DECIMALS) if bland.line and bland.sd > 0 else ("", ""),
        _estimate(icc and icc.agreement, _RATIO_DECIMALS),
        _estimate(icc and icc.consistency, _RATIO_DECIMALS),
        _estimate(ccc and ccc.coefficient, _RATIO_DECIMALS),
        (
            format_number(change.change, decimals),
            "" if change.change_percent is None else f"{change.change_percent:.1f} %",
        ),
    ]
    return row


def _choose_shown(agreements: Sequence[Agreement]) -> tuple[list[Agreement], list[str]]:
    """Measures that get a section of the page: all, or those that agree worst where there are too many; and a note."""
    whole = [agreement for agreement in agreements if agreement.group == ALL]
    if len(whole) <= _MOST_SECTIONS:
        return whole, []
    order = sorted(range(len(whole)), key=lambda place: whole[place].icc.agreement.value if whole[place].icc else -2.0)
    note = (
        f"Pictures are shown of the {_MOST_SECTIONS} measures with the lowest ICC(2,1); the table has all {len(whole)}."
    )
    return [whole[place] for place in sorted(order[:_MOST_SECTIONS])], [note]


def _make_sections(agreements: Sequence[Agreement], figures: Path) -> list[dict[str, Any]]:
    """One section per measure with its figure, which is also written as a file."""
    sections = []
    for agreement in agreements:
        comparison = agreement.comparison
        place = len(sections) + 1
        section = {"title": comparison.measure, "anchor": f"measure-{place}", "sentences": describe(agreement)}
        section |= {"a": comparison.a_name, "b": comparison.b_name, "picture": None, "worst": [], "facts": []}
        if agreement.bland_altman is not None:
            name = f"{place:02d}_{_slug(comparison.measure)}.png"
            section["picture"] = _write_figure(figures / name, agreement)
            section["worst"] = _find_worst(agreement)
            section["facts"] = _list_facts(agreement)
            section["unit"] = format_unit(comparison.unit)
            section["grouped"] = bool(comparison.groups)
        sections.append(section)
    return sections


def _write_figure(path: Path, agreement: Agreement) -> str:
    """Write the figure, and give it as the ``src`` of an image."""
    figure = draw_agreement(agreement)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _find_worst(agreement: Agreement) -> list[dict[str, Any]]:
    """Cases of the largest difference, the largest first."""
    comparison = agreement.comparison.take(agreement.comparison.complete)
    differences = comparison.b - comparison.a
    bland = agreement.bland_altman
    decimals = pick_decimals(bland.sd)
    rows = []
    for place in np.argsort(-np.abs(differences), kind="stable")[:_WORST]:
        difference = float(differences[place])
        rows.append(
            {
                "case": comparison.case_ids[place],
                "group": comparison.groups[place] if comparison.groups else "",
                "a": format_number(comparison.a[place], decimals),
                "b": format_number(comparison.b[place], decimals),
                "difference": format_number(difference, decimals),
                "outside": not bland.lower_limit.value <= difference <= bland.upper_limit.value,
            }
        )
    return rows


def _list_facts(agreement: Agreement) -> list[tuple[str, str]]:
    """What the table of all measures has no room for."""
    comparison, bland = agreement.comparison, agreement.bland_altman
    decimals, unit = pick_decimals(bland.sd), format_unit(comparison.unit)
    complete, change, deming = comparison.complete, agreement.change, agreement.deming
    facts = [
        (
            "Mean of a, of b",
            " and ".join(_quantity(side[complete].mean(), decimals, unit) for side in (comparison.a, comparison.b)),
        ),
        ("SD of differences", _quantity(bland.sd, decimals, unit)),
        ("Lower limit, 95 % interval", _after(_range(bland.lower_limit, decimals), unit)),
        ("Upper limit, 95 % interval", _after(_range(bland.upper_limit, decimals), unit)),
        (
            "2.5th and 97.5th percentile of differences",
            " and ".join(_quantity(p, decimals, unit) for p in agreement.percentiles),
        ),
        ("RMS-SD within cases", _quantity(change.rms_sd, decimals, unit)),
    ]
    if change.rms_cv_percent is not None:
        facts.append(("RMS-CV within cases", f"{change.rms_cv_percent:.2f} %"))
    if agreement.concordance is not None:
        facts.append(
            (
                "Pearson's r, bias correction of the CCC",
                f"{format_number(agreement.concordance.pearson, 3)} and {agreement.concordance.bias_correction:.3f}",
            )
        )
    if deming is not None:
        facts.append(("Deming slope", f"{format_number(deming.slope.value, 3)} ({_range(deming.slope, 3)})"))
        facts.append(
            (
                "Deming intercept",
                f"{_quantity(deming.intercept.value, decimals, unit)} ({_range(deming.intercept, decimals)})",
            )
        )
    return facts


# -- words -----------------------------------------------------------------------------------------------------------


def _estimate(estimate: Estimate | None, decimals: int) -> tuple[str, str]:
    if estimate is None:
        return "", ""
    return format_number(estimate.value, decimals), "" if estimate.lower is None else _range(estimate, decimals)


def _limits(agreement: Agreement, decimals: int) -> tuple[str, str]:
    bland = agreement.bland_altman
    return (
        f"{format_number(bland.lower_limit.value, decimals)} to {format_number(bland.upper_limit.value, decimals)}",
        "",
    )


def _percent_limits(agreement: Agreement) -> tuple[str, str]:
    percent = agreement.percent
    if percent is None:
        return "", ""
    low, high = (format_number(limit.value, 1) for limit in (percent.lower_limit, percent.upper_limit))
    return f"{format_number(percent.bias.value, 1)}", f"{low} to {high}"


def _relative(agreement: Agreement) -> str:
    return f" ({abs(agreement.percent.bias.value):.1f} %)" if agreement.percent else ""


def _count_outside(agreement: Agreement) -> int:
    comparison, bland = agreement.comparison, agreement.bland_altman
    differences = (comparison.b - comparison.a)[comparison.complete]
    return int(np.sum((differences < bland.lower_limit.value) | (differences > bland.upper_limit.value)))


def _range(estimate: Estimate, decimals: int) -> str:
    return f"{format_number(estimate.lower, decimals)} to {format_number(estimate.upper, decimals)}"


def _quantity(value: float, decimals: int, unit: str) -> str:
    return _after(format_number(float(value), decimals), unit)


def _after(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60] or "measure"
