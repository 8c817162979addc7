"""MONAI Label's own integration tests, as they are installed with it, against our server.

Those for bundles (tests/integration/monaibundle in its repository) send the requests of the radiology ones, which are
what the wheel holds; each returns at once where there is no CUDA, so that is said to be there. Model and image are
renamed. Not run, because they do not apply: sessions (uploads are off), deepgrow, deepedit and multi-organ
segmentation (no such models), detection, endoscopy and pathology.
"""

from __future__ import annotations

import sys
import types
import unittest
from pathlib import Path

import monailabel
import pytest

from tests.integration.label_server import MODEL, TOKEN, LabelServer, write_small_phantoms

PEER = Path(monailabel.__file__).parents[1] / "tests" / "integration" / "radiology"
APPLIES = [
    ("test_info.py", "test_info"),
    ("test_infer.py", "test_segmentation_spleen"),
    ("test_batch_infer.py", "test_batch_segmentation_spleen"),
    ("test_trainer.py", "test_segmentation_spleen_trainer"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    write_small_phantoms(folder, range(2))
    server = LabelServer(["--studies", str(folder)], tmp_path_factory.mktemp("log") / "log")
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(("file", "name"), APPLIES, ids=[name for _, name in APPLIES])
def test_the_peers_own_test_passes(server, monkeypatch, file, name):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    address = types.ModuleType("tests.integration")
    address.SERVER_URI = f"{server.url}/t/{TOKEN}"
    monkeypatch.setitem(sys.modules, "tests.integration", address)
    text = (PEER / file).read_text()
    for theirs, ours in (("segmentation_spleen", MODEL), ("spleen_8", "p0"), ("spleen_3", "p0")):
        text = text.replace(f'"{theirs}"', f'"{ours}"').replace(f"/{theirs}?", f"/{ours}?")
    module: dict = {"__name__": "peer"}
    exec(compile(text, file, "exec"), module)
    case = next(v for v in module.values() if isinstance(v, type) and issubclass(v, unittest.TestCase))
    requests_made = []
    requests = module["requests"]
    for method in ("get", "post", "put"):
        real = getattr(requests, method)
        monkeypatch.setattr(requests, method, lambda *a, real=real, **k: requests_made.append(a) or real(*a, **k))
    getattr(case(name), name)()
    assert requests_made  # it did not return before it asked
