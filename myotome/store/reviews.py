"""What readers decided about cases: one small file a decision, none ever rewritten."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from myotome.errors import InputError
from myotome.io.atomic import atomic_path
from myotome.store.folder import CohortFolder

__all__ = ["DECISIONS", "write_review"]

DECISIONS = ("accept", "exclude", "annotate", "undecided")
_LONGEST_NOTE = 2000


def write_review(cohort: CohortFolder, case_id: str, decision: str, reviewer: str, note: str = "") -> Path:
    """Keep one decision about a case; the latest of a case counts.

    Raises
    ------
    InputError
        When the case is not in the cohort, the decision is not one of `DECISIONS`, or nobody is named.
    OutputError
        When it cannot be written.
    """
    if decision not in DECISIONS:
        raise InputError(f"'{decision}' is no decision: give one of {', '.join(DECISIONS)}.")
    reviewer = " ".join(reviewer.split())
    if not reviewer or len(reviewer) > 100:
        raise InputError("a decision needs its reader's name, of at most 100 letters.")
    if not re.fullmatch(r"[0-9a-f]{16}", case_id) or not (cohort.cases_folder / case_id).is_dir():
        raise InputError(f"there is no case '{case_id[:40]}' in this cohort.")
    now = datetime.now(UTC)
    row = {
        "case_id": case_id,
        "decision": decision,
        "reviewer": reviewer,
        "note": note[:_LONGEST_NOTE],
        "reviewed_at": now.strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    path = cohort.reviews_folder / case_id / f"{now.strftime('%Y%m%dT%H%M%S.%f')}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
