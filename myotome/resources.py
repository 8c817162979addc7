"""Where the files that travel with the package lie: beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from myotome.errors import BundleError

__all__ = ["bundle_root", "config_path", "label_app_folder", "shipped_bundles"]

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
