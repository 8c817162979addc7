"""An Orthanc of our own on loopback: a small real PACS for trying the server and for its tests."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import requests

from myotome.errors import InputError, MyotomeError
from myotome.processes import die_with_parent

__all__ = ["Orthanc", "free_port"]

_PLUGIN = "libOrthancDicomWeb.so"
_PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins", "/usr/lib/orthanc")
_START_S = 60


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Orthanc:
    """A running Orthanc with its DICOMweb plugin; it speaks to loopback only, and to one random user.

    Parameters
    ----------
    folder : for its configuration, its database and its log
    """

    folder: Path
    port: int = 0

    def __post_init__(self) -> None:
        self.user, self.password = "myotome", secrets.token_urlsafe(16)
        self.port = self.port or free_port()
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """Its own REST interface."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dicomweb(self) -> str:
        """The DICOMweb service."""
        return f"{self.url}/dicom-web"

    @property
    def credentials(self) -> tuple[str, str]:
        return self.user, self.password

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises
        ------
        InputError
            When Orthanc or its DICOMweb plugin is not installed.
        MyotomeError
            When it does not start.
        """
        program = shutil.which("Orthanc")
        plugin = next((path for place in _PLUGIN_FOLDERS if (path := Path(place) / _PLUGIN).is_file()), None)
        if program is None or plugin is None:
            raise InputError(
                "Orthanc with its DICOMweb plugin is not installed: "
                "run 'sudo apt-get install orthanc orthanc-dicomweb'."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # the configuration holds the password
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(plugin), indent=1))
        with (self.folder / "orthanc.log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, str(configuration)], stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                if requests.get(f"{self.url}/system", auth=self.credentials, timeout=2).ok:
                    return
            except requests.RequestException:
                time.sleep(0.2)
        self.stop()
        raise MyotomeError(f"Orthanc did not start: see {self.folder / 'orthanc.log'}.")

    def stop(self) -> None:
        """Stop it, and wait for it to write what it has."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process = None

    def upload(self, files: Iterable[Path]) -> int:
        """Store DICOM files; returns how many."""
        count = 0
        with requests.Session() as session:
            session.auth = self.credentials
            for path in files:
                reply = session.post(f"{self.url}/instances", data=path.read_bytes(), timeout=60)
                reply.raise_for_status()
                count += 1
        return count

    def count(self, level: str = "studies") -> int:
        """How many patients, studies, series or instances it holds."""
        return len(requests.get(f"{self.url}/{level}", auth=self.credentials, timeout=30).json())

    def _configuration(self, plugin: Path) -> dict:
        return {
            "Name": "MYOTOME",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "HttpPort": self.port,
            "HttpServerEnabled": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {self.user: self.password},
            "DicomServerEnabled": False,
            "HttpDescribeErrors": True,
            "Plugins": [str(plugin)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False, "Ssl": False},
        }
