"""A simulated study from its configuration to its folder of results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from myotome.active_learning.cases import PhantomPool, Reduction, make_phantom_cases, read_cases
from myotome.active_learning.simulation import Learner, Plan, Study, simulate, split_cases
from myotome.active_learning.simulation_report import write_results
from myotome.errors import InputError, OutputError
from myotome.io.atomic import atomic_path
from myotome.resources import config_path
from myotome.structures import read_label_schema

__all__ = ["Settings", "read_settings", "run_study"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """A study's configuration. ``training`` is what the learner is made of; see :mod:`myotome.training.quick`."""

    phantoms: PhantomPool
    reduction: Reduction
    plan: Plan
    training: dict[str, Any]

    def chosen(self, strategies: Sequence[str], seeds: int | None) -> Settings:
        """These settings with other strategies or another number of seeds, where they are given."""
        plan = replace(self.plan, strategies=tuple(strategies) or self.plan.strategies, seeds=seeds or self.plan.seeds)
        return replace(self, plan=plan)

    def identity(self, data: Path | None) -> dict[str, Any]:
        """What two runs must share to be parts of one study: all but the strategies and the number of seeds."""
        fields = json.loads(json.dumps(asdict(self)))
        del fields["plan"]["strategies"], fields["plan"]["seeds"]
        if data is not None:
            fields["phantoms"] = None
        return {"data": None if data is None else str(data.resolve()), **fields}


def read_settings(path: Path | None = None) -> Settings:
    """Settings from a YAML file, or the project's own ``configs/studies/annotation_simulation.yaml``.

    Raises
    ------
    InputError
        When the file is missing or unreadable, or holds a key or a value that is not known.
    """
    path = path or config_path("studies/annotation_simulation.yaml")
    try:
        table = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        sections = {"phantoms": PhantomPool, "reduction": Reduction, "plan": Plan}
        if not isinstance(table, dict):
            raise TypeError("it holds no sections")
        unknown = sorted(set(table) - {*sections, "training"})
        if unknown:
            raise InputError(f"{path} has the unknown section '{unknown[0]}': see the project's own configuration.")
        parts = {name: kind(**_tuples(table.get(name) or {})) for name, kind in sections.items()}
        return Settings(**parts, training=_tuples(table.get("training") or {}))
    except OSError as error:
        raise InputError(f"no configuration at {path} ({error.strerror}): give a YAML file.") from error
    except (YAMLError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a configuration of this study ({reason}).") from error


def run_study(
    settings: Settings,
    learner: Learner,
    output: Path,
    data: Path | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[str]:
    """Prepare the cases, run what is missing, and write the results.

    The output folder then holds ``records.jsonl``, ``summary.csv``, ``summary.json``, ``curves.png`` and
    ``report.html``, beside ``study.json`` and ``cache``, by which a stopped run goes on.

    Parameters
    ----------
    data : a labelled data set in our layout (a folder with ``datalist.json``); phantoms are drawn when ``None``.
    progress : called with the step, what is done and how much there is.

    Returns
    -------
    list of str
        The conclusion, a sentence each; see :func:`myotome.active_learning.curves.conclude`.

    Raises
    ------
    OutputError
        When the folder holds another study, or cannot be written.
    """
    _claim(output, settings.identity(data))

    def tell(step: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(step, done, total) if progress else None

    cache = output / "cache"
    if data is None:
        cases = make_phantom_cases(settings.phantoms, settings.reduction, cache, tell("drawing phantoms"))
    else:
        cases = read_cases(data, settings.reduction, cache, tell("reading cases"))
    pool, test = split_cases(cases, settings.plan.test_share, settings.plan.split_seed)
    names = tuple(structure.name for structure in read_label_schema(settings.reduction.schema).structures)
    study = Study(pool, test, names, settings.plan)
    records = simulate(study, learner, output / "records.jsonl", tell("simulating"), jobs)
    source = f"{len(cases)} cases of {data.name}" if data else f"{len(cases)} synthetic thorax phantoms"
    return write_results(output, study, records, {**settings.identity(data), "plan": asdict(settings.plan)}, source)


def _claim(output: Path, identity: dict[str, Any]) -> None:
    path = output / "study.json"
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != identity:
            raise OutputError(f"{output} holds a study with other settings or data: choose another folder.")
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"{output} holds something else than a study: choose another folder.")
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(identity, indent=1), encoding="utf-8")


def _tuples(section: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}
