"""Two cohorts of the same scans, measure by measure: what another version of a bundle changes."""

from __future__ import annotations

import csv
from pathlib import Path

from myotome.errors import InputError
from myotome.report.agreement import write_agreement
from myotome.report.comparisons import Agreement
from myotome.report.pairing import Pairing, PairingRules, pair_measurements
from myotome.store import Store

__all__ = ["compare_cohorts"]

_WHOLE = "SELECT * FROM included_measurements WHERE slice_index IS NULL OR level IS NOT NULL"


def compare_cohorts(first: Path, second: Path, output: Path) -> tuple[list[Agreement], Pairing]:
    """Agreement of every measure of the cases that both cohorts have, written as tables, figures and a report.

    Cases are matched by their ids where both cohorts share a key, else by what their private folders know of them; the
    first cohort's ids are shown. Cases that a reader excluded in either cohort are left out.

    Raises
    ------
    InputError
        When they have no case in common, or the private folder is needed and absent.
    OutputError
        When the results cannot be written.
    """
    stores = Store(first), Store(second)
    frames = [store.frame(_WHOLE) for store in stores]
    names = _name(stores)
    if not frames[0].empty and not set(frames[0]["case_id"]) & set(frames[1]["case_id"]):
        same = _link_cases(*stores)
        frames[1] = frames[1].assign(case_id=frames[1]["case_id"].map(same)).dropna(subset=["case_id"])
    pairing = pair_measurements(*frames, PairingRules(names, on="case_id"))
    title = f"{names[0]} beside {names[1]}"
    return write_agreement(output, pairing.comparisons, title, pairing.notes), pairing


def _name(stores: tuple[Store, Store]) -> tuple[str, str]:
    """What the cohorts are called: their bundles' versions where these differ, else their folders."""
    descriptions = [store.cohort.description for store in stores]
    versions = [f"{table.get('bundle')} {table.get('bundle_version')}" for table in descriptions]
    if versions[0] != versions[1]:
        return versions[0], versions[1]
    folders = [store.folder.resolve().name for store in stores]
    return (folders[0], folders[1]) if folders[0] != folders[1] else ("A", "B")


def _link_cases(first: Store, second: Store) -> dict[str, str]:
    """Id in the second cohort to id in the first, by the study or file that both stand for."""
    known = {image: case_id for case_id, image in _read_images(first).items()}
    return {case_id: known[image] for case_id, image in _read_images(second).items() if image in known}


def _read_images(store: Store) -> dict[str, tuple[str, ...]]:
    images = {}
    for path in sorted(store.cohort.private_folder.glob("identities*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                uids = (row["study_uid"], row["series_uid"])
                images[row["case_id"]] = uids if row["study_uid"] else (row["place"],)
    if not images:
        raise InputError(
            f"'{store.folder}' has no private folder, and its cases bear other ids: compare the original folders."
        )
    return images
