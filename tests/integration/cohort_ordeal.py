"""One cohort of a hundred cases through everything that can go wrong, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from myotome.store import Store

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import cohort_faults as faults  # noqa: E402

CASES = 100
_PATIENCE_S = 240


@dataclass
class Ordeal:
    """The people of one ordeal: which case is faulty how, by its folder's name."""

    sources: Path
    output: Path
    seed: int

    def make(self) -> None:
        kinds = {3: faults.SEGFAULT, 31: faults.HOG, 57: faults.RAISE}
        for number in range(CASES):
            path = self.sources / f"person_{number:03d}" / "ct.nii.gz"
            faults.write_small_case(path, 1000 * self.seed + number, kinds.get(number, -1000))
        faults.truncate(self.sources / "person_080" / "ct.nii.gz")

    def start(self) -> subprocess.Popen:
        words = [sys.executable, str(HERE / "cohort_faults.py"), str(self.sources), str(self.output)]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def finished(self) -> dict[str, int]:
        """Case ids that are in the cohort, each with a number that changes when it is written anew."""
        folder = self.output / "cases"
        return {path.name: path.stat().st_ino for path in folder.iterdir()} if folder.is_dir() else {}

    def wait_for(self, cases: int, driver: subprocess.Popen) -> None:
        """Wait until so many cases are there."""
        end = time.monotonic() + _PATIENCE_S
        while len(self.finished()) < cases:
            assert time.monotonic() < end, f"only {len(self.finished())} of {cases} cases after {_PATIENCE_S} s"
            assert driver.poll() is None, driver.communicate()[0]
            time.sleep(0.05)


@contextmanager
def small_disk(folder: Path, megabytes: int = 130) -> Iterator[Path | None]:
    """A file system of its own, so that filling it hurts nobody; ``None`` where only root may mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def workers_of(driver: int) -> list[psutil.Process]:
    """The processes that work for a driver, of whom the process id is given."""
    found = []
    for child in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def undergo(ordeal: Ordeal, fills: bool) -> dict[str, str]:
    """Run the cohort three times: a worker killed and the disk full, the driver killed, to the end.

    Returns
    -------
    dict : what the runs said.
    """
    said = {}
    driver = ordeal.start()
    ordeal.wait_for(10, driver)
    workers_of(driver.pid)[0].kill()
    ordeal.wait_for(25, driver)
    if fills:
        filler = faults.fill_disk(ordeal.output.parent)
        said["full"] = driver.communicate(timeout=_PATIENCE_S)[0]
        assert driver.returncode == 1
        filler.unlink()
        written = ordeal.finished()
        driver = ordeal.start()
        ordeal.wait_for(len(written) + 15, driver)
    else:
        written = ordeal.finished()
    helpers = workers_of(driver.pid)
    driver.kill()
    driver.wait()
    psutil.wait_procs(helpers, timeout=30)
    assert not [helper for helper in helpers if helper.is_running()], "workers outlive their driver"
    between = ordeal.finished()
    driver = ordeal.start()
    said["end"] = driver.communicate(timeout=_PATIENCE_S)[0]
    assert driver.returncode == 0, said["end"]
    last = ordeal.finished()
    records = {path.name: read_record(path) for path in (ordeal.output / "cases").iterdir()}
    done = {case for case, record in records.items() if record["status"] == "done"}
    for earlier in (written, between):
        rewritten = {case for case in done & earlier.keys() if earlier[case] != last[case]}
        failed_before = {case for case in rewritten if records[case]["attempts"] > 1}
        assert rewritten <= failed_before, f"written twice: {rewritten - failed_before}"
    return said


def read_record(folder: Path) -> dict:
    return json.loads((folder / "case.json").read_text())


def require_order(ordeal: Ordeal) -> None:
    """What must be true after the last run: everything is finished, the culprits are named, nothing is half or left."""
    records = {path: read_record(path) for path in sorted((ordeal.output / "cases").iterdir())}
    assert len(records) == CASES
    table = Store(ordeal.output).frame("SELECT count(*) AS n, count(DISTINCT case_id) AS ids FROM cases")
    assert table.to_dict("records") == [{"n": CASES, "ids": CASES}]
    reasons = sorted(record["reason"] for record in records.values() if record["status"] != "done")
    assert len(reasons) == 4, reasons
    expected = (
        "'…' is damaged or cut short",
        "RuntimeError: a fault in",
        "it needs more memory",
        "the worker's process crashed",
    )
    for reason, start in zip(reasons, expected, strict=True):
        assert reason.startswith(start), reasons
    assert "Segmentation fault" in reasons[3]
    for folder, record in records.items():
        if record["status"] == "done":
            assert faults.is_whole(folder / "labels.nii.gz"), folder
            assert pq.read_table(folder / "measurements.parquet").num_rows > 50, folder
            assert (folder / "thumbnail.webp").stat().st_size > 200, folder
    culprits = name_culprits(ordeal)
    assert culprits == {"person_003": "failed", "person_031": "failed", "person_057": "failed", "person_080": "refused"}


def name_culprits(ordeal: Ordeal) -> dict[str, str]:
    """Folder's name and status of every case that is not done, by the owner's list of identities."""
    import csv

    with (ordeal.output / "private" / "identities.csv").open() as file:
        names = {row["case_id"]: Path(row["place"]).parent.name for row in csv.DictReader(file)}
    records = ((path.name, read_record(path)) for path in (ordeal.output / "cases").iterdir())
    return {names[case]: record["status"] for case, record in records if record["status"] != "done"}
