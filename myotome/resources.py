"""Where the files that travel with the package lie: beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from myotome.errors import BundleError

__all__ = [
    "bundle_root",
    "config_path",
    "image_modality",
    "label_app_folder",
    "read_metadata",
    "require_matching_weights",
    "shipped_bundles",
]

_PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    checkout = _PACKAGE.parent / name
    return checkout if checkout.is_dir() else _PACKAGE / f"_{name}"


def config_path(name: str) -> Path:
    """Path of a file under ``configs/``, such as ``"structures.yaml"``."""
    return _folder("configs") / name


def label_app_folder() -> Path:
    """Folder of the MONAI Label app."""
    return _folder("monailabel_app")


def shipped_bundles() -> list[Path]:
    """Folder of each bundle that travels with the package."""
    return sorted(path.parents[1] for path in _folder("bundle").glob("*/configs/metadata.json"))


def bundle_root(name_or_path: str | Path) -> Path:
    """Folder of a bundle, given the folder itself or the name of a bundle that Myotome ships.

    Raises
    ------
    BundleError
        When neither is a folder that holds ``configs/metadata.json``.
    """
    for root in (Path(name_or_path), _folder("bundle") / str(name_or_path)):
        if (root / "configs" / "metadata.json").is_file():
            return root.resolve()
    names = [root.name for root in shipped_bundles()]
    raise BundleError(
        f"no bundle '{name_or_path}': give a folder that holds configs/metadata.json or one of {', '.join(names)}."
    )


def read_metadata(root: Path) -> dict[str, Any]:
    """A bundle's ``configs/metadata.json``.

    Raises
    ------
    BundleError
        When it is missing, unreadable, or says neither version nor outputs.
    """
    path = root / "configs" / "metadata.json"
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        metadata["version"], metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is not a bundle's metadata ({error!r}): copy it from the bundle again.") from error
    return metadata


def image_modality(metadata: dict[str, Any]) -> str:
    """Of the images that a bundle takes, as its metadata say: ``CT`` or ``MR``.

    Raises
    ------
    BundleError
        When the metadata do not say.
    """
    try:
        return str(metadata["network_data_format"]["inputs"]["image"]["modality"])
    except (KeyError, TypeError) as error:
        raise BundleError(
            "the bundle's metadata do not name the modality of its image: write it into configs/metadata.json."
        ) from error


def require_matching_weights(root: Path, metadata: dict[str, Any], name: str = "models/model.pt") -> str:
    """The sha256 of a bundle's weights, compared with the one in its metadata where there is one.

    Raises
    ------
    BundleError
        When the weights are missing or are not those the metadata names.
    """
    path = root / name
    if not path.is_file():
        raise BundleError(f"bundle '{root.name}' has no weights at {path}: train it, or download {name} to that place.")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = metadata.get("weights_sha256", {}).get(name)
    if expected and expected != found:
        raise BundleError(
            f"{path} is not the file the bundle was released with (sha256 {found[:12]}..., expected "
            f"{expected[:12]}...): download it again, or write the new sha256 into configs/metadata.json."
        )
    return found
