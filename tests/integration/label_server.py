"""A real label server in a process of its own, for the tests to talk to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import requests
from monailabel.client import MONAILabelClient
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from myotome.io import read_label_map, write_label_map, write_volume
from myotome.phantoms.thorax import Scan, make_thorax
from myotome.structures import LabelMap, read_label_schema

MODEL = "respiratory_muscle_ct_segmentation"
TOKEN = "a-token-for-tests"
SMALL = Scan(matrix=128, in_plane_mm=3.2, slice_thickness_mm=15.0, sub_slice_mm=15.0, bottom=0.4, top=0.7)
_START_S = 180


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_small_phantoms(folder: Path, seeds: Iterable[int]) -> dict[str, LabelMap]:
    """A few coarse thoraces as NIfTI, and their known labels by image id."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for seed in seeds:
        case = make_thorax(seed, SMALL)
        write_volume(folder / f"p{seed}.nii.gz", case.volume)
        truth[f"p{seed}"] = case.label_map
    return truth


@dataclass
class LabelServer:
    """``myotome serve`` with some options, started and stopped."""

    options: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        command = [sys.executable, "-m", "myotome", "serve", "--port", str(self.port), *self.options]
        environment = {**os.environ, "MYOTOME_TOKEN": TOKEN, **self.environment}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}: {self.log.read_text()[-2000:]}")
            try:
                requests.get(f"{self.url}/auth/", timeout=2)
                return
            except requests.RequestException:
                time.sleep(0.3)
        raise RuntimeError(f"the server did not start: {self.log.read_text()[-2000:]}")

    def interrupt(self) -> None:
        """Ctrl-C, and at most half a minute for it to end by itself."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def stop(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.interrupt()
        self.kill()

    def kill(self) -> None:
        """kill -9 of the server and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def client(self, reader: str, folder: Path) -> MONAILabelClient:
        """MONAI Label's own client, signed in as 3D Slicer does: a name, and the token for a password."""
        client = MONAILabelClient(self.url, tmpdir=str(folder), client_id=reader)
        assert client.auth_enabled()
        client.update_auth(client.auth_token(reader, TOKEN))
        return client

    def get(self, path: str, **options) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=300, **_signed(options))

    def post(self, path: str, **options) -> requests.Response:
        return requests.post(f"{self.url}{path}", timeout=300, **_signed(options))

    def put(self, path: str, **options) -> requests.Response:
        return requests.put(f"{self.url}{path}", timeout=300, **_signed(options))

    def wait_for_training(self, timeout_s: float = 500) -> dict:
        """The task of the training, when it has ended."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            task = self.get("/train/").json()
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return task
            time.sleep(0.5)
        raise RuntimeError("the training did not end")


def read_labels(path: Path | str) -> LabelMap:
    return read_label_map(path, read_label_schema())


def read_segmentations(orthanc) -> list:
    """Every SEG in the PACS, oldest first."""
    found = []
    for instance in requests.get(f"{orthanc.url}/instances", auth=orthanc.credentials, timeout=30).json():
        address = f"{orthanc.url}/instances/{instance}/file"
        dataset = dcmread(DicomBytesIO(requests.get(address, auth=orthanc.credentials, timeout=30).content))
        if dataset.Modality == "SEG":
            found.append(dataset)
    return sorted(found, key=lambda dataset: (dataset.ContentDate, dataset.ContentTime))


def write_renumbered(path: Path, label_map: LabelMap, order: list[str]) -> list[dict]:
    """The label map as 3D Slicer saves it: numbered by the order of its segments, with the list of their names."""
    schema = label_map.schema
    array = np.zeros_like(label_map.array)
    for number, name in enumerate(order, 1):
        array[label_map.array == schema[name].index] = number
    write_label_map(path, LabelMap(array, label_map.grid, schema))
    return [{"name": name, "idx": number} for number, name in enumerate(order, 1)]


def _signed(options: dict) -> dict:
    return {**options, "headers": {**(options.get("headers") or {}), "Authorization": f"Bearer {TOKEN}"}}
