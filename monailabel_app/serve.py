"""Starts the server; `myotome serve` calls this with its options as one JSON object."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import webbrowser
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lib.security import new_token
from lib.standins import install_standins
from lib.state import State, default_state
from myotome.errors import InputError, MyotomeError

_DEMO_SEEDS = (7, 8)
_OPEN_AFTER_S = 2.0


@dataclass
class Options:
    """What `myotome serve` was asked for; see its help."""

    studies: str = ""
    dicomweb: str = ""
    with_orthanc: bool = False
    demo: bool = True
    state: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    allowed_hosts: list[str] = field(default_factory=list)
    certificate: str = ""
    key: str = ""
    largest_mb: int = 1024
    open_browser: bool = False
    conf: dict[str, str] = field(default_factory=dict)


def main() -> int:
    """Serve until interrupted; a refusal is one sentence and its exit code."""
    options = Options(**json.loads(sys.argv[1]))
    try:
        with ExitStack() as cleanup:
            serve(options, cleanup)
    except MyotomeError as error:
        print(f"myotome: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    return 0


def serve(options: Options, cleanup: ExitStack) -> None:
    """Prepare what the images come from, print how to get in, and serve."""
    _require_free(options.host, options.port)
    state = State(Path(options.state or default_state(options.dicomweb or options.studies)).absolute())
    state.root.mkdir(parents=True, exist_ok=True)
    source = options.dicomweb or options.studies
    if options.with_orthanc:
        source = _start_orthanc(state, options.demo, cleanup)
    elif not options.dicomweb:
        source = str(Path(options.studies).absolute())
        Path(source).mkdir(parents=True, exist_ok=True)
        if options.demo and not _any_image(Path(source)):
            _make_phantoms(Path(source), "nifti")
    token = options.token or _kept_token(state)
    _prepare_monailabel(source, {**options.conf, "state": str(state.root)})

    import uvicorn
    from monailabel.interfaces.utils.app import app_instance

    from lib.server import Serving, create_server

    label_app = app_instance()
    known = {"127.0.0.1", "localhost", "::1", options.host, *options.allowed_hosts}
    server = create_server(label_app, Serving(token, frozenset(known), options.largest_mb))
    _welcome(options, token, len(label_app.datastore().list_images()))
    secure = {"ssl_certfile": options.certificate, "ssl_keyfile": options.key} if options.certificate else {}
    uvicorn.run(
        server,
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=5,
        server_header=False,
        **secure,
    )


def _require_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(f"cannot listen at {host}:{port} ({error.strerror}): choose another --port.") from error


def _start_orthanc(state: State, demo: bool, cleanup: ExitStack) -> str:
    from lib.orthanc import Orthanc

    orthanc = Orthanc(state.root / "orthanc")
    orthanc.start()
    cleanup.callback(orthanc.stop)
    if demo and not orthanc.count():
        _make_phantoms(state.root / "demo", "dicom")
        orthanc.upload(sorted((state.root / "demo").rglob("*.dcm")))
    os.environ["MYOTOME_DICOMWEB_USER"], os.environ["MYOTOME_DICOMWEB_PASSWORD"] = orthanc.credentials
    return orthanc.dicomweb


def _any_image(folder: Path) -> bool:
    return any(not path.name.startswith(".") for path in folder.iterdir())


def _make_phantoms(folder: Path, image_format: str) -> None:
    """Demo scans: phantoms of two people."""
    print(f"making {len(_DEMO_SEEDS)} demo scans in {folder} ...", flush=True)
    command = [sys.executable, "-m", "myotome", "phantom", "thorax", "--recipe", "clinical", "--format", image_format]
    command += ["-n", str(len(_DEMO_SEEDS)), "--seed", str(_DEMO_SEEDS[0]), "-o", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    if image_format == "nifti":
        for case in sorted(folder.glob("case_*")):
            # The truth stays out of the readers' sight.
            (case / "image.nii.gz").rename(folder / f"{case.name}.nii.gz")
            for path in case.iterdir():
                path.unlink()
            case.rmdir()
        for name in ("truth.csv", "datalist.json", "phantoms.json"):
            (folder / name).unlink(missing_ok=True)


def _kept_token(state: State) -> str:
    """The token of this state folder, the same after a restart; readable by its owner alone."""
    path = state.root / "token"
    if not path.is_file():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_token())
    return path.read_text().strip()


def _prepare_monailabel(source: str, conf: dict[str, str]) -> None:
    """Settings for this process and, through the environment, for the trainings that MONAI Label starts."""
    environment = {
        "MONAI_LABEL_APP_DIR": str(HERE),
        "MONAI_LABEL_STUDIES": source,
        "MONAI_LABEL_APP_CONF": json.dumps(conf),
        "MONAI_LABEL_SESSIONS": "false",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_TASKS_BATCH_INFER": "false",
        "MONAI_LABEL_TASKS_SCORING": "false",
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        # The classes of lib are loaded once: two of each would not know one another.
        "MONAI_LABEL_RELOAD_APP_LIB": "false",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")])),
    }
    os.environ.update(environment)
    install_standins()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("monailabel", "httpx", "dicomweb_client", "filelock", "uvicorn.error"):
        # What these print names images, paths and requests, which may name a patient.
        logging.getLogger(name).setLevel(logging.WARNING)


def _welcome(options: Options, token: str, images: int) -> None:
    scheme = "https" if options.certificate else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"{scheme}://{host}:{options.port}"
    print(
        f"Myotome serves {images} images.\n"
        f"  browser:   {address}/login?token={token}\n"
        f"  3D Slicer: {address}/t/{token}  (as the MONAI Label server)\n"
        f"  token:     {token}\n"
        "Stop with Ctrl-C.",
        flush=True,
    )
    if options.open_browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        threading.Timer(_OPEN_AFTER_S, webbrowser.open, [f"{address}/login?token={token}&next=/"]).start()


if __name__ == "__main__":
    sys.exit(main())
