"""``myotome serve``: the MONAI Label app, for annotation with OHIF or 3D Slicer."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from myotome.cli.analyze import EngineName, Precision
from myotome.errors import InputError
from myotome.resources import label_app_folder

__all__ = ["serve"]


def serve(
    studies: Annotated[
        Path | None, typer.Option("--studies", "-s", help="Folder of images; made, with two demo scans, when absent.")
    ] = None,
    dicomweb: Annotated[str | None, typer.Option("--dicomweb", help="Address of a PACS's DICOMweb service.")] = None,
    with_orthanc: Annotated[
        bool, typer.Option("--with-orthanc", help="Start an Orthanc on this machine, with two demo studies.")
    ] = False,
    state: Annotated[
        Path | None, typer.Option("--state", help="Where labels, models and drafts are kept; see docs/annotate.md.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="Port to listen at.")] = 8000,
    token: Annotated[
        str, typer.Option("--token", envvar="MYOTOME_TOKEN", help="What readers sign in with; one is made otherwise.")
    ] = "",
    allowed_host: Annotated[
        list[str] | None, typer.Option("--allowed-host", help="Another name the server is called by; repeatable.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option("--certificate", help="TLS certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="TLS key (PEM).")] = None,
    bundle: Annotated[
        list[str] | None, typer.Option("--bundle", "-b", help="Serve only this bundle; repeatable.")
    ] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", help="Active-learning strategy that clients are offered first.")
    ] = "foreground_random",
    engine: Annotated[EngineName, typer.Option("--engine", help="How the networks are computed.")] = EngineName.auto,
    precision: Annotated[
        Precision, typer.Option("--precision", help="Arithmetic of the networks.")
    ] = Precision.float32,
    validation_share: Annotated[
        float, typer.Option("--validation-share", min=0.05, max=0.8, help="Share of the patients that is held out.")
    ] = 0.25,
    tracking: Annotated[
        str, typer.Option("--tracking", help="MLflow tracking address for training rounds, such as sqlite:///runs.db.")
    ] = "",
    demo: Annotated[bool, typer.Option(help="Make demo scans where there is nothing yet.")] = True,
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser, where there is a display.")] = False,
) -> None:
    """Serve every bundle to OHIF and 3D Slicer: drafts, labels, training, active learning.

    The address to open is printed, with a token that nobody else has. Everything works offline.

    Examples:

        myotome serve --studies scans

        myotome serve --with-orthanc

        MYOTOME_DICOMWEB_USER=me MYOTOME_DICOMWEB_PASSWORD=... myotome serve --dicomweb http://pacs:8042/dicom-web
    """
    if sum(map(bool, (studies, dicomweb, with_orthanc))) > 1 and not (studies and with_orthanc):
        raise InputError("give one of --studies, --dicomweb and --with-orthanc.")
    if dicomweb and not dicomweb.startswith(("http://", "https://")):
        raise InputError(f"'{dicomweb}' is no web address: give one that begins with http:// or https://.")
    if bool(certificate) != bool(key):
        raise InputError("give --certificate and --key together.")
    if find_spec("monailabel") is None:
        raise InputError("MONAI Label is not installed: run 'make setup' in a checkout (requirements/lock.txt has it).")
    if tracking and find_spec("mlflow") is None:
        raise InputError("MLflow is not installed, and --tracking needs it: run 'uv pip install mlflow'.")
    options = {
        "studies": str(studies or Path("studies")),
        "dicomweb": dicomweb or "",
        "with_orthanc": with_orthanc,
        "demo": demo,
        "open_browser": open_browser,
        "state": str(state or ""),
        "host": host,
        "port": port,
        "token": token,
        "allowed_hosts": allowed_host or [],
        "certificate": str(certificate or ""),
        "key": str(key or ""),
        "conf": {
            "models": ",".join(bundle or []),
            "strategy": strategy,
            "engine": engine.value,
            "precision": precision.value,
            "validation_share": str(validation_share),
            "tracking": tracking,
        },
    }
    # The server takes this process's place, so that signals reach it.
    sys.stdout.flush()
    program = [sys.executable, str(label_app_folder() / "serve.py"), json.dumps(options)]
    os.execv(sys.executable, program)
