"""``myotome info``: what is installed here. It answers at once, because it imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from myotome import __version__
from myotome.resources import shipped_bundles

__all__ = ["describe_installation", "info"]

_LIBRARIES = ("torch", "monai", "numpy", "scipy", "nibabel", "pydicom", "highdicom", "openvino", "onnxruntime")


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is installed: versions, bundles, and whether their weights are here.

    Example: myotome info --json
    """
    found = describe_installation()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = Console()
    console.print(f"myotome {found['version']}, Python {found['python']}, in {found['package']}", highlight=False)
    console.print(", ".join(f"{name} {number}" for name, number in found["libraries"].items()), highlight=False)
    console.print(_bundle_table(found["bundles"]) if found["bundles"] else "no bundles found")


def describe_installation() -> dict[str, Any]:
    """Versions, and each bundle that travels with the package, as plain values."""
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            libraries[name] = "not installed"
    return {
        "version": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "package": str(Path(__file__).resolve().parents[1]),
        "libraries": libraries,
        "bundles": [_describe_bundle(root) for root in shipped_bundles()],
    }


def _describe_bundle(root: Path) -> dict[str, Any]:
    try:
        metadata = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        metadata = {}
    released = metadata.get("weights_sha256", {})
    weights = []
    for path in sorted((root / "models").glob("*.pt")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        expected = released.get(f"models/{path.name}")
        weights.append(
            {
                "file": path.name,
                "bytes": path.stat().st_size,
                "sha256": digest,
                "as_released": digest == expected if expected else None,
            }
        )
    return {"name": root.name, "version": metadata.get("version"), "path": str(root), "weights": weights}


def _bundle_table(bundles: list[dict[str, Any]]) -> Table:
    table = Table("bundle", "version", "weights", "sha256")
    for bundle in bundles:
        files = bundle["weights"]
        table.add_row(
            bundle["name"],
            bundle["version"] or "unreadable",
            "\n".join(_describe_weights(file) for file in files) or "not here",
            "\n".join(file["sha256"][:12] for file in files),
        )
    return table


def _describe_weights(file: dict[str, Any]) -> str:
    changed = ", not the released file" if file["as_released"] is False else ""
    return f"{file['file']} ({file['bytes'] / 1e6:.1f} MB{changed})"
