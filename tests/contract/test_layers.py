"""The house keeps its shape: layers, walls between libraries, public names, and a lock without hosts."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "myotome"

# Each line lists its rooms from high to low; a room may import what stands on a lower line. Rooms on one line never
# import each other, except where the line is a chain ("->"), in which the left may import the right.
LINES = (
    ("__main__ -> cli",),
    ("cohort", "studies", "active_learning"),
    ("pipeline -> report", "phantom_dataset", "store"),
    ("inference", "training", "io"),
    ("transforms", "networks"),
    ("phantoms", "metrics", "biomarkers", "statistics"),
    ("measurement -> structures -> geometry -> attenuation -> resources -> errors", "processes"),
)

# A library is imported only in the rooms (or modules) named here. Libraries that are not named may be used anywhere.
WALLS = {
    "torch": ("transforms", "networks", "inference", "training", "metrics"),
    "monai": ("transforms", "networks", "inference", "training", "metrics"),
    "ignite": ("training",),
    "pydicom": ("io.dicom_",),
    "highdicom": ("io.dicom_",),
    "gdcm": ("io.dicom_",),
    "nibabel": ("io.nifti", "training"),
    "dask": ("cohort",),
    "distributed": ("cohort",),
    "dask_jobqueue": ("cohort",),
    "duckdb": ("store",),
    "pyarrow": ("store",),
    "pandera": ("store", "studies"),
    "pyspiro": ("studies",),
    "statsmodels": ("studies",),
    "weasyprint": ("report",),
    "typer": ("cli",),
    "monailabel": (),
    "openvino": ("inference.engines",),
    "onnxruntime": ("inference.engines",),
    "isal": ("io.nifti",),
    "pycocotools": ("metrics.instances",),
}
# Layers 0 and 1 know the standard library and these.
GROUND_LIBRARIES = {"numpy", "scipy", "ruamel"}
GROUND_EXCEPTIONS = {"metrics": {"monai", "torch", "pycocotools"}}


def _heights() -> dict[str, tuple[int, int]]:
    """Room name to (line from the top, place in the line's chain, or 0)."""
    heights = {}
    for line, entries in enumerate(LINES):
        for entry in entries:
            for place, room in enumerate(entry.split(" -> ")):
                heights[room] = (line, place)
    return heights


HEIGHTS = _heights()
GROUND = {room for room, (line, _) in HEIGHTS.items() if line >= len(LINES) - 2}
SOURCES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in SOURCES]
every_source = pytest.mark.parametrize("path", SOURCES, ids=NAMES)


def _module(path: Path) -> str:
    """Dotted name below ``myotome``: ``io.nifti`` for io/nifti.py, ``io`` for io/__init__.py, "" for the root."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> list[str]:
    """Absolute dotted names of everything a file imports, at any depth of nesting."""
    names = []
    package = ["myotome", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names += [f"{module}.{alias.name}" for alias in node.names] if module == "myotome" else [module]
    return names


def _room(dotted: str) -> str:
    """The room of a dotted import such as ``myotome.io.nifti``; "" for the package itself (its version)."""
    room = dotted.split(".")[1] if "." in dotted else ""
    return "" if room.startswith("__version") else room


def _may_import(importer: str, imported: str) -> bool:
    if importer == imported or not imported:
        return True
    (line, place), (other_line, other_place) = HEIGHTS[importer], HEIGHTS[imported]
    if line != other_line:
        return line < other_line
    chains = [entry.split(" -> ") for entry in LINES[line]]
    chained = any(importer in chain and imported in chain for chain in chains)
    return chained and place < other_place


def test_every_module_has_a_place_in_the_layers():
    rooms = {_module(path).split(".")[0] for path in SOURCES} - {""}
    assert rooms <= set(HEIGHTS), f"not in the layers: {sorted(rooms - set(HEIGHTS))}"


@every_source
def test_imports_point_downward(path):
    room = _module(path).split(".")[0]
    imported = {_room(name) for name in _imports(path) if name.split(".")[0] == "myotome"}
    if not room:
        assert imported <= {""}, f"the package's root imports {sorted(imported)}; it only says its version"
        return
    wrong = sorted(other for other in imported if not _may_import(room, other))
    assert not wrong, f"{room} may not import {wrong}: import downward only"


def _stands_in(module: str, room: str) -> bool:
    """True when a module is the room, is inside it, or (``io.dicom_``) begins with it."""
    return module == room or module.startswith(room if room.endswith("_") else f"{room}.")


@every_source
def test_libraries_stay_behind_their_walls(path):
    module = _module(path)
    for name in _imports(path):
        library = name.split(".")[0]
        if library in WALLS:
            inside = any(_stands_in(module, room) for room in WALLS[library])
            assert inside, f"{module or 'myotome'} imports {library}, which lives in {WALLS[library]}"


@pytest.mark.parametrize("path", [path for path in SOURCES if _module(path).split(".")[0] in GROUND])
def test_the_ground_floor_knows_numpy_and_scipy_only(path):
    room = _module(path).split(".")[0]
    known = {"myotome", *sys.stdlib_module_names, *GROUND_LIBRARIES, *GROUND_EXCEPTIONS.get(room, ())}
    foreign = {name.split(".")[0] for name in _imports(path)} - known
    assert not foreign, f"{room} is in layers 0-1 and imports {sorted(foreign)}"


def _public_definitions(tree: ast.Module) -> dict[str, ast.AST]:
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    }


def _bound_names(tree: ast.Module) -> set[str]:
    """Names that a module binds at its top level."""
    names = set(_public_definitions(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return ast.literal_eval(node.value)
    return None


@every_source
def test_the_public_list_is_true(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public, listed = _public_definitions(tree), _listed(tree)
    if not public and listed is None:
        return
    assert listed is not None, f"{path.name} defines {sorted(public)} and has no __all__"
    assert set(public) <= set(listed), f"public but not in __all__: {sorted(set(public) - set(listed))}"
    missing = set(listed) - _bound_names(tree)
    assert not missing, f"in __all__ but not defined: {sorted(missing)}"
    assert len(set(listed)) == len(listed), "a name stands twice in __all__"


@every_source
def test_public_names_are_documented(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body, f"{path.name} does not say what it is"
    silent = [name for name, node in _public_definitions(tree).items() if not ast.get_docstring(node)]
    assert not silent, f"without a docstring: {silent}"


def test_the_lock_pins_versions_and_names_no_host():
    lines = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8").splitlines()
    assert lines, "the lock is empty"
    strange = [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]*==[A-Za-z0-9.+!]+", line)]
    assert not strange, f"not of the form name==version: {strange}"


def test_the_bundles_hold_no_code():
    assert not list((ROOT / "bundle").rglob("*.py")), "a bundle is data only; code belongs in myotome/"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("cli", "pipeline", True),
        ("pipeline", "report", True),
        ("report", "pipeline", False),
        ("phantom_dataset", "report", False),
        ("io", "inference", False),
        ("biomarkers", "metrics", False),
        ("structures", "geometry", True),
        ("geometry", "structures", False),
        ("errors", "networks", False),
        ("networks", "errors", True),
        ("io", "io", True),
    ],
)
def test_the_rule_itself(importer, imported, allowed):
    assert _may_import(importer, imported) is allowed
