"""The one seam of the house: a segmenter turns a volume into a label map."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import Compose, LoadImaged, SaveImaged
from torch import nn

from myotome.errors import BundleError, InputError, MyotomeError
from myotome.geometry import Volume
from myotome.inference.bone_slices import BoneInferer
from myotome.inference.disc_tracks import SliceDisc
from myotome.inference.discs import DiscInferer
from myotome.inference.engines import Agreement, EngineError, open_engine
from myotome.inference.l3_slices import L3Inferer
from myotome.inference.label_maps import LabelMapInferer
from myotome.inference.slices import SliceInferer
from myotome.inference.volumes import VolumeInferer
from myotome.inference.y_views import YViewInferer
from myotome.measurement import Grading, Instance, Level
from myotome.networks import read_weights
from myotome.resources import bundle_root, read_metadata, require_matching_weights
from myotome.structures import LabelMap, LabelSchema, read_label_schema

__all__ = [
    "BundleSegmenter",
    "Grader",
    "PhantomSegmenter",
    "Segmenter",
    "schema_of",
    "spread_device",
]


class Segmenter(Protocol):
    """Finds structures in a volume, and says what it is for the provenance."""

    bundle: str
    bundle_version: str
    weights_sha256: str
    device: str
    engine: str
    precision: str
    notes: tuple[str, ...]
    schema: LabelSchema

    def segment(self, volume: Volume) -> LabelMap:
        """Label map of a volume, on the volume's own grid."""
        ...


class Grader(Segmenter, Protocol):
    """A segmenter that also grades what is labelled, as a bundle with a classifier does."""

    def grade(self, volume: Volume, label_map: LabelMap) -> Grading | None:
        """What the classifier says; ``None`` when there is nothing to grade."""
        ...


class PhantomSegmenter:
    """Gives the known truth of a phantom, so that everything above is tested without weights."""

    bundle, bundle_version, weights_sha256, device = "phantom", "none", "none", "none"
    engine, precision, notes = "none", "none", ()

    def __init__(self, label_map: LabelMap) -> None:
        self._label_map, self.schema = label_map, label_map.schema

    def segment(self, volume: Volume) -> LabelMap:
        """The truth.

        Raises
        ------
        InputError
            When the volume is not the phantom's.
        """
        if not volume.grid.same_as(self._label_map.grid):
            raise InputError("the image is not the one that this label map was made for: give the phantom's image.")
        return self._label_map


class BundleSegmenter:
    """Runs a bundle's ``configs/inference.yaml`` on volumes in memory.

    The bundle's own network and inferer are used, so the label map is the one that ``python -m monai.bundle run
    inference`` writes. A bundle whose inferer is not a `VolumeInferer` runs through its preprocessing and
    postprocessing as well, without loading and saving.

    Parameters
    ----------
    bundle : name of a shipped bundle, or a bundle's folder.
    device : ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ..., or ``"auto"``.
    engine : how the network is computed, as `LabelMapInferer` takes it; the bundle's own choice when ``None``.
        ``"eager"`` runs the bundle's ``inference_reference.yaml`` on top where it has one: MONAI's own way.
    precision : of the arithmetic; the bundle's own choice when ``None``.
    progress : called with the share of the work that is done, 0 to 1.
    schema : numbering of the label map; that of the bundle's metadata when ``None``.

    Attributes
    ----------
    notes : tuple of str
        Engines that were not used after all, and why; then what was found in the last volume and is not labelled.

    Raises
    ------
    BundleError
        When the bundle, its configuration or its weights are missing, unreadable or do not belong together, or the
        device is not there.
    """

    def __init__(
        self,
        bundle: str | Path,
        device: str = "cpu",
        *,
        engine: str | None = None,
        precision: str | None = None,
        progress: Callable[[float], None] | None = None,
        schema: LabelSchema | None = None,
    ) -> None:
        root = bundle_root(bundle)
        metadata = read_metadata(root)
        self.bundle, self.bundle_version = root.name, str(metadata["version"])
        self.device = _require_device(device)
        self.weights_sha256 = require_matching_weights(root, metadata)
        self.schema = schema or schema_of(metadata)
        parser = _read_config(root, self.device, plain=engine == "eager" and precision in (None, "float32"))
        unused = _choose_engine(parser, engine, precision)
        try:
            network = parser.get_parsed_content("network_def")
            self._before = _without(parser.get_parsed_content("preprocessing"), LoadImaged)
            self._inferer: Inferer = parser.get_parsed_content("inferer")
            self._after = _without(parser.get_parsed_content("postprocessing"), SaveImaged)
        except MyotomeError:
            raise
        except Exception as error:
            raise BundleError(f"{root}/configs/inference.yaml cannot be used ({_first_line(error)}).") from error
        self._inferer.progress = progress
        self._network: nn.Module = read_weights(network, root / "models" / "model.pt").to(self.device).eval()
        self.engine, self.precision, notes = self._describe_engine()
        self._engine_notes = (*unused, *notes)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was found in the last volume and is not labelled, as a vertebra whose name is not sure; sentences."""
        return self._inferer.left_out if isinstance(self._inferer, BoneInferer) else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Engines that were not used after all, and why; then `left_out`."""
        return (*self._engine_notes, *self.left_out)

    def segment(self, volume: Volume) -> LabelMap:
        """Label map of a volume, on the volume's own grid.

        Raises
        ------
        InputError
            When the bundle labels a vertebral level, and does not find it (see `segment_level`); when it names
            vertebrae, and cannot.
        """
        if isinstance(self._inferer, VolumeInferer):
            labels = self._inferer.segment(volume.array, volume.grid.affine, self._network)
        else:
            data: dict[str, Any] = self._before({"image": _as_meta_tensor(volume)})
            data["pred"] = self._inferer(data["image"][None], self._network)[0]
            labels = np.asarray(self._after(data)["pred"].cpu())[0].astype(np.uint8)
        return LabelMap(labels, volume.grid, self.schema)

    @property
    def finds_level(self) -> bool:
        """True when the bundle labels one vertebral level, which it finds by itself or is told."""
        return isinstance(self._inferer, L3Inferer)

    def segment_level(self, volume: Volume, *, level_slice: int | None = None, average: bool = False) -> LabelMap:
        """Label map of the level's slice, 0 in all others.

        Parameters
        ----------
        level_slice : index along the volume's own inferior-superior axis, from 0; the bundle finds it when ``None``
        average : label the two neighbours as well

        Raises
        ------
        InputError
            When the level is not in the scan, two slices may be it, or it is not sure enough; when there is no such
            slice.
        BundleError
            When the bundle labels no vertebral level.
        """
        if not isinstance(self._inferer, L3Inferer):
            raise BundleError(f"the bundle '{self.bundle}' labels no vertebral level: call segment without a slice.")
        labels = self._inferer.segment_level(volume.array, volume.grid.affine, self._network, level_slice, average)
        return LabelMap(labels, volume.grid, self.schema)

    def locate(self, volume: Volume, label_map: LabelMap) -> Level | None:
        """Which slice is the vertebral level, as it was found when this volume was segmented last.

        Returns
        -------
        Level or None
            ``None`` for a bundle that labels no level, and where nothing is labelled in that slice.
        """
        return self._inferer.locate(volume, label_map) if isinstance(self._inferer, L3Inferer) else None

    def find_instances(self, volume: Volume, label_map: LabelMap) -> tuple[Instance, ...]:
        """The objects of a label map, as they were found when this volume was segmented last.

        Parameters
        ----------
        label_map : the bundle's own, or one that a reader has corrected: an object that is no longer labelled in its
            box is left out

        Returns
        -------
        tuple of Instance
            Empty for a bundle that detects no objects.
        """
        return self._inferer.find_instances(volume, label_map) if isinstance(self._inferer, DiscInferer) else ()

    def detect_slices(self, volume: Volume, least_score: float = 0.05) -> tuple[SliceDisc, ...]:
        """What is found in each slice by itself, unsure ones too: what average precision is computed from.

        Parameters
        ----------
        least_score : 0 to 1

        Raises
        ------
        BundleError
            When the bundle detects no objects.
        """
        if not isinstance(self._inferer, DiscInferer):
            raise BundleError(f"the bundle '{self.bundle}' detects no objects: call segment.")
        return tuple(self._inferer.detect(volume.array, volume.grid.affine, self._network, least_score))

    def iter_probabilities(self, volume: Volume, slices: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What the network says of evenly spread slices, one at a time: how sure it is, without a volume of it.

        Parameters
        ----------
        slices : how many; a volume of fewer gives every one.

        Returns
        -------
        iterator of ((C, x, y) float32 probabilities, (x, y) float32 HU)
            On the network's own in-plane grid; see :meth:`SliceInferer.iter_probabilities`.

        Raises
        ------
        BundleError
            When the bundle is run by another inferer than :class:`SliceInferer`: one of windows, or the reference
            pipeline that engine ``"eager"`` stands for.
        """
        if not isinstance(self._inferer, SliceInferer | YViewInferer | L3Inferer | DiscInferer):
            raise BundleError(
                f"the bundle '{self.bundle}' gives no probabilities slice by slice as it is run here "
                f"({type(self._inferer).__name__}): take another engine, or a strategy that needs none."
            )
        return self._inferer.iter_probabilities(volume.array, volume.grid.affine, self._network, slices)

    def classify(self, volume: Volume, mask: LabelMap) -> LabelMap:
        """Decide labels 1-3 of a label map anew, by the cascade's third stage alone: how the paper scores that stage.

        Parameters
        ----------
        mask : on the volume's grid; which of labels 1-3 a voxel has does not matter, only that it has one.
        """
        respiratory = np.where(mask.array < 4, mask.array, 0).astype(np.uint8)
        stage = self._network.stage("muscle_classes")
        labels = SliceInferer(engine="eager").segment(volume.array, volume.grid.affine, stage, respiratory)
        return LabelMap(labels, volume.grid, self.schema)

    def grade(self, volume: Volume, label_map: LabelMap) -> Grading | None:
        """What the bundle's classifier says of the labelled region.

        Parameters
        ----------
        label_map : on the volume's grid; the bundle's own, or one that a reader has corrected

        Returns
        -------
        Grading or None
            ``None`` for a bundle without a classifier, and where nothing is labelled that could be graded.
        """
        if not isinstance(self._inferer, YViewInferer):
            return None
        return self._inferer.grade(volume, label_map, self._network)

    def check_engine(self, name: str, precision: str) -> Agreement:
        """How an engine agrees with PyTorch eager for this bundle; measured the first time on this machine.

        Raises
        ------
        EngineError
            When the engine cannot run here in that precision, or the bundle's inferer takes none.
        """
        if not isinstance(self._inferer, LabelMapInferer):
            raise EngineError(f"the bundle '{self.bundle}' runs by its own inferer: it takes no engine.")
        return self._inferer.check(open_engine(name, self._network, precision, self.device), self._network)

    def _describe_engine(self) -> tuple[str, str, tuple[str, ...]]:
        if not isinstance(self._inferer, LabelMapInferer):
            return "eager", "float32", ()
        opened = self._inferer.open(self._network)
        return f"{opened.name} {opened.version()}", opened.precision, self._inferer.notes


def schema_of(metadata: dict[str, Any]) -> LabelSchema:
    """The numbering of a bundle's label maps, checked against the channels of the network that gives them.

    Raises
    ------
    BundleError
        When metadata and `configs/structures.yaml` disagree.
    """
    formats = [value for key, value in metadata.items() if key.endswith("_data_format")]
    channels = [value["outputs"]["pred"]["channel_def"] for value in formats]
    name = metadata.get("label_schema")
    if name is None:
        raise BundleError("the bundle's metadata do not name its 'label_schema': write it into configs/metadata.json.")
    schema = read_label_schema(name)
    if schema.channel_def() not in channels:
        raise BundleError(
            f"the bundle's labels {channels[0]} are not those of the schema '{schema.name}': update either."
        )
    return schema


def _require_device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise BundleError(f"there is no device '{name}' on this machine: use --device cpu.") from error
    return name


def spread_device(name: str, place: int) -> str:
    """The device of one of several workers: ``auto`` and ``cuda`` go round the GPUs, where there are any.

    Parameters
    ----------
    name : as :class:`BundleSegmenter` takes it
    place : the worker's number, from 0
    """
    count = torch.cuda.device_count() if name in ("auto", "cuda") else 0
    return f"cuda:{place % count}" if count else name


def _find_config(root: Path, name: str) -> Path | None:
    paths = [root / "configs" / f"{name}.{end}" for end in ("yaml", "yml", "json")]
    return next((path for path in paths if path.is_file()), None)


def _read_config(root: Path, device: str, plain: bool) -> ConfigParser:
    path = _find_config(root, "inference")
    overlay = _find_config(root, "inference_reference") if plain else None
    if path is None:
        raise BundleError(f"bundle '{root.name}' has no configs/inference.yaml: copy it from the bundle again.")
    parser = ConfigParser()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser.read_config([str(file) for file in (path, overlay) if file])
        parser["bundle_root"] = str(root)
        parser["device"] = f"$torch.device('{device}')"
    except Exception as error:
        raise BundleError(f"{path} is not a readable configuration ({_first_line(error)}).") from error
    return parser


def _choose_engine(parser: ConfigParser, engine: str | None, precision: str | None) -> tuple[str, ...]:
    """Hand engine and precision on to the bundle's inferer; notes on what an inferer that takes none leaves unused."""
    notes = []
    for key, value, own in (("engine", engine, ("auto", "eager")), ("precision", precision, ("float32",))):
        if value is not None and f"inferer#{key}" in parser:
            parser[f"inferer#{key}"] = value
        elif value not in (None, *own):
            notes.append(f"the {key} {value} is not used: this bundle is computed by PyTorch in float32 alone")
    return tuple(notes)


def _without(transform: Compose, kind: type) -> Compose:
    return Compose([step for step in transform.transforms if not isinstance(step, kind)])


def _as_meta_tensor(volume: Volume) -> MetaTensor:
    """The volume as :class:`monai.transforms.LoadImaged` would have read it: (1, ...) float32 with its affine."""
    affine = torch.from_numpy(volume.grid.affine.copy())
    array = torch.from_numpy(np.ascontiguousarray(volume.array, dtype=np.float32))[None]
    meta = {"original_affine": volume.grid.affine.copy(), "spatial_shape": np.array(volume.grid.shape)}
    meta |= {"space": "RAS", "original_channel_dim": "no_channel"}
    return MetaTensor(array, affine=affine, meta=meta)


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".splitlines()[0]
