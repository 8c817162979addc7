"""The two tables of a cohort: their columns, types and units, and the check that rows pass before they are written."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import pyarrow as pa

from myotome.errors import InputError
from myotome.io.tables import COLUMNS

__all__ = ["CASE_COLUMNS", "MEASUREMENT_SCHEMA", "CaseRecord", "make_measurement_table"]

_NUMBERS = {"value": pa.float64(), "lower": pa.float64(), "upper": pa.float64(), "slice_index": pa.int32()}
_MAY_LACK = {"study_uid", "series_uid", "level", "slice_index", "value", "lower", "upper", "subject_id"}

MEASUREMENT_SCHEMA = pa.schema(
    [pa.field("case_id", pa.string(), nullable=False)]
    + [
        pa.field(
            column,
            pa.list_(pa.string()) if column == "flags" else _NUMBERS.get(column, pa.string()),
            nullable=column in _MAY_LACK,
        )
        for column in COLUMNS
    ]
)

# Column of the view `cases` to its DuckDB type, in order.
CASE_COLUMNS = {
    "case_id": "VARCHAR",
    "subject_id": "VARCHAR",
    "study_uid": "VARCHAR",
    "series_uid": "VARCHAR",
    "status": "VARCHAR",
    "reason": "VARCHAR",
    "bundle": "VARCHAR",
    "bundle_version": "VARCHAR",
    "weights_sha256": "VARCHAR",
    "software_version": "VARCHAR",
    "run_id": "VARCHAR",
    "engine": "VARCHAR",
    "precision": "VARCHAR",
    "input_signature": "VARCHAR",
    "flags": "VARCHAR[]",
    "sex": "VARCHAR",
    "age_years": "DOUBLE",
    "height_m": "DOUBLE",
    "weight_kg": "DOUBLE",
    "study_date": "DATE",
    "slices": "INTEGER",
    "spacing_mm": "DOUBLE[]",
    "slice_thickness_mm": "DOUBLE",
    "tube_voltage_kv": "DOUBLE",
    "kernel": "VARCHAR",
    "contrast_agent": "BOOLEAN",
    "manufacturer": "VARCHAR",
    "uncertainty": "DOUBLE",
    "read_s": "DOUBLE",
    "segment_s": "DOUBLE",
    "measure_s": "DOUBLE",
    "write_s": "DOUBLE",
    "peak_memory_mb": "DOUBLE",
    "attempts": "INTEGER",
    "finished_at": "TIMESTAMP",
}


@dataclass(frozen=True)
class CaseRecord:
    """What became of one case: the row of the view ``cases``, without a word that names a person.

    ``status`` is ``done``, ``refused`` (the input cannot be measured; ``reason`` says why, and only another input or
    another version will change it) or ``failed`` (something went wrong while it was worked on; a rerun tries again).
    ``input_signature`` changes when the input's files do. Times are seconds of one worker, ``finished_at`` is UTC.
    """

    case_id: str
    status: Literal["done", "refused", "failed"]
    subject_id: str
    study_uid: str | None = None
    series_uid: str | None = None
    reason: str | None = None
    bundle: str = "none"
    bundle_version: str = "none"
    weights_sha256: str = "none"
    software_version: str = ""
    run_id: str = ""
    engine: str = "none"
    precision: str = "none"
    input_signature: str = ""
    flags: tuple[str, ...] = ()
    sex: str | None = None
    age_years: float | None = None
    height_m: float | None = None
    weight_kg: float | None = None
    study_date: str | None = None
    slices: int | None = None
    spacing_mm: tuple[float, float, float] | None = None
    slice_thickness_mm: float | None = None
    tube_voltage_kv: float | None = None
    kernel: str | None = None
    contrast_agent: bool | None = None
    manufacturer: str | None = None
    uncertainty: float | None = None
    read_s: float | None = None
    segment_s: float | None = None
    measure_s: float | None = None
    write_s: float | None = None
    peak_memory_mb: float | None = None
    attempts: int = 1
    finished_at: str | None = None

    def __post_init__(self) -> None:
        if self.status not in ("done", "refused", "failed"):
            raise InputError(f"the status of a case is done, refused or failed, not '{self.status}'.")
        if (self.reason is None) != (self.status == "done"):
            raise InputError(f"a case that is {self.status} {'has no' if self.status == 'done' else 'needs a'} reason.")

    def as_row(self) -> dict[str, Any]:
        """The record by column, as JSON writes it."""
        row = asdict(self)
        return {column: row[column] for column in CASE_COLUMNS}


assert {field.name for field in fields(CaseRecord)} == set(CASE_COLUMNS)


@functools.cache
def _frame_schema() -> Any:
    """The rules of the measurement table, for pandera; its types are those of `MEASUREMENT_SCHEMA` already."""
    import pandera.pandas as pandera

    no_flags_no_gap = pandera.Check(
        lambda frame: frame["value"].notna() | (frame["flags"].str.len() > 0),
        error="a missing value carries a flag that says why",
    )
    ordered = pandera.Check(
        lambda frame: (frame["lower"].isna() | frame["upper"].isna()) | (frame["lower"] <= frame["upper"]),
        error="an interval's lower bound is not above its upper one",
    )
    finite = pandera.Check(lambda column: ~column.isin([float("inf"), float("-inf")]), error="finite")
    rules = dict.fromkeys(("value", "lower", "upper"), finite)
    rules |= {"side": pandera.Check.isin(["right", "left", "both"]), "unit": pandera.Check.str_length(min_value=1)}
    columns = {
        field.name: pandera.Column(nullable=field.nullable, checks=rules.get(field.name))
        for field in MEASUREMENT_SCHEMA
    }
    return pandera.DataFrameSchema(columns, checks=[no_flags_no_gap, ordered], strict=True)


def make_measurement_table(case_id: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """A case's rows (the keys of :data:`myotome.io.tables.COLUMNS`) as the Arrow table that is stored, checked.

    Raises
    ------
    InputError
        When a row is against the rules of the table; the sentence says which.
    """
    import pandera.errors

    table = pa.Table.from_pylist([{"case_id": case_id, **row} for row in rows], schema=MEASUREMENT_SCHEMA)
    try:
        _frame_schema().validate(table.to_pandas(), lazy=True)
    except pandera.errors.SchemaErrors as error:
        first = error.failure_cases.iloc[0]
        raise InputError(
            f"the measurements break a rule of their table ({first['check']}; column {first['column']}, found "
            f"{first['failure_case']}): report this with the case."
        ) from error
    return table
