"""The bundles that are served: their champion, their structures, what they were trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lib.state import State
from myotome.active_learning.champions import Champion, ChampionHistory, ValidationList
from myotome.errors import BundleError
from myotome.inference import schema_of
from myotome.resources import image_modality, read_metadata, shipped_bundles
from myotome.structures import LabelSchema
from myotome.training import can_train

__all__ = ["Model", "find_models"]

_VALIDATION_SHARE = 0.25


@dataclass(frozen=True)
class Model:
    """One bundle and what the server keeps about it."""

    shipped: Path
    state: State
    validation_share: float = _VALIDATION_SHARE

    @property
    def name(self) -> str:
        return self.shipped.name

    @cached_property
    def metadata(self) -> dict:
        return read_metadata(self.shipped)

    @cached_property
    def schema(self) -> LabelSchema:
        return schema_of(self.metadata)

    @property
    def modality(self) -> str:
        return image_modality(self.metadata)

    @property
    def trainable(self) -> bool:
        return can_train(self.shipped)

    @property
    def history(self) -> ChampionHistory:
        return ChampionHistory(self.state.champions(self.name), self.shipped)

    @property
    def champion(self) -> Champion:
        return self.history.current()

    @property
    def validation_list(self) -> ValidationList:
        return ValidationList(self.state.validation_list(self.name), self.validation_share)


def find_models(state: State, chosen: Iterable[str] = (), validation_share: float = _VALIDATION_SHARE) -> list[Model]:
    """The bundles that have weights; only the chosen ones when any are named.

    Raises
    ------
    BundleError
        When a chosen bundle is not there, or none has weights.
    """
    chosen = list(chosen)
    found = {root.name: root for root in shipped_bundles()}
    missing = [name for name in chosen if name not in found]
    if missing:
        raise BundleError(f"there is no bundle '{missing[0]}': the bundles are {', '.join(found)}.")
    roots = [found[name] for name in chosen or found]
    models = [Model(root, state, validation_share) for root in roots if (root / "models" / "model.pt").is_file()]
    if not models:
        raise BundleError("no bundle has weights, so there is nothing to serve: train one, or download its weights.")
    return models
