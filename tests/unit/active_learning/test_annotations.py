"""Versions of label maps: none is lost, none is half, and segments are told by their names."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from myotome.active_learning.annotations import AnnotationStore, Authorship, folder_name, rename_labels
from myotome.errors import GeometryError, InputError
from myotome.geometry import Grid, reorient
from myotome.structures import LabelMap, LabelSchema, read_label_schema

SCHEMA = read_label_schema()
GRID = Grid((4, 3, 2), np.diag([2.0, 2.0, 5.0, 1.0]))
KILLS = 25


def label_map(value: int, grid: Grid = GRID) -> LabelMap:
    array = np.zeros(grid.shape, np.uint8)
    array[0, 0, 0] = value
    return LabelMap(array, grid, SCHEMA)


@pytest.fixture
def store(tmp_path) -> AnnotationStore:
    return AnnotationStore(tmp_path / "annotations")


def test_versions_are_numbered_and_the_newest_wins(store):
    for value in (1, 2, 0):
        store.save("a/b", label_map(value), GRID, Authorship(author=f"reader {value}"))
    assert [row.version for row in store.versions("a/b")] == ["v0001", "v0002", "v0003"]
    assert store.newest("a/b").voxels == {"pectoralis": 0, "erector_spinae": 0, "intercostal": 0, "other_muscle": 0}
    assert store.read(store.find("a/b", "v0002")).array[0, 0, 0] == 2
    assert store.image_ids() == ["a/b"]
    assert store.newest("another") is None


def test_each_readers_newest_version_is_found(store):
    for author, value in (("Ada", 1), ("Bo", 2), ("Ada", 3)):
        store.save("a", label_map(value), GRID, Authorship(author=author))
    assert {name: row.version for name, row in store.by_reader("a").items()} == {"Ada": "v0003", "Bo": "v0002"}


def test_labels_of_another_schema_are_told_apart(store):
    other = LabelSchema("other", SCHEMA.structures)
    store.save("a", label_map(1), GRID, Authorship())
    store.save("a", LabelMap(label_map(2).array, GRID, other), GRID, Authorship())
    store.save("b", LabelMap(label_map(2).array, GRID, other), GRID, Authorship())
    assert store.newest("a").version == "v0002"
    assert store.newest("a", SCHEMA.name).version == "v0001"
    assert store.newest("b", SCHEMA.name) is None
    assert store.image_ids(SCHEMA.name) == ["a"]
    assert store.image_ids("other") == ["a", "b"]


def test_twenty_readers_saving_at_once_all_survive(store):
    def save(number: int) -> None:
        # Each has a store of its own, as two processes have.
        AnnotationStore(store.root).save("a", label_map(1 + number % 4), GRID, Authorship(author=str(number)))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = store.versions("a")
    assert sorted(int(row.authorship.author) for row in versions) == list(range(20))
    assert all(store.read(row).array[0, 0, 0] == 1 + int(row.authorship.author) % 4 for row in versions)


def test_a_file_that_was_changed_afterwards_is_refused(store):
    saved = store.save("a", label_map(1), GRID, Authorship())
    saved.path.write_bytes(saved.path.read_bytes()[:-1])
    with pytest.raises(InputError, match="restore it"):
        store.read(saved)


@pytest.mark.parametrize("image_id", ["", ".", "..", "../x", "a/../../b", "/etc/passwd", "a//b", "a\\b", "a\0b", "a/."])
def test_ids_that_climb_are_refused(store, image_id):
    with pytest.raises(InputError, match="image id"):
        store.save(image_id, label_map(1), GRID, Authorship())
    assert list(store.root.iterdir()) == []


def test_different_ids_have_different_folders():
    ids = ["a/b", "a%2Fb", "a b", "a+b", "ä", "x" * 300, "x" * 299]
    assert len({folder_name(image_id) for image_id in ids}) == len(ids)
    assert all("/" not in folder_name(image_id) and len(folder_name(image_id)) < 200 for image_id in ids)


def test_labels_elsewhere_or_of_another_shape_are_refused(store):
    moved = GRID.affine.copy()
    moved[1, 3] = 0.2
    for grid in (Grid((4, 3, 3), GRID.affine), Grid(GRID.shape, moved)):
        with pytest.raises(GeometryError, match="save the labels on the grid of"):
            store.save("a", label_map(1, grid), GRID, Authorship())


def test_another_axis_order_is_the_same_grid(store):
    labels = label_map(1)
    array, affine = reorient(labels.array, GRID.affine, "SPL")
    turned = LabelMap(np.ascontiguousarray(array), Grid(array.shape, affine), SCHEMA)
    assert store.save("a", turned, GRID, Authorship()).voxels["pectoralis"] == 1


def test_numbers_follow_names():
    array = np.array([0, 1, 2, 7]).reshape(4, 1, 1)
    names = {1: "Other muscle", 2: "ERECTOR_SPINAE", 7: "background", 9: "not there"}
    renamed = rename_labels(array, Grid((4, 1, 1), np.eye(4)), SCHEMA, names)
    assert renamed.array.ravel().tolist() == [0, 4, 2, 0]


def test_without_names_the_numbers_are_the_schemas_own():
    array = np.array([0.0, 3.0]).reshape(2, 1, 1)
    assert rename_labels(array, Grid((2, 1, 1), np.eye(4)), SCHEMA, None).array.ravel().tolist() == [0, 3]


@pytest.mark.parametrize(
    ("values", "names", "words"),
    [
        ([0, 5], None, "not in schema"),
        ([0, 300], None, "no structure has"),
        ([0, 0.5], None, "whole numbers"),
        ([0, -1], None, "whole numbers"),
        ([0, 5], {1: "pectoralis"}, "value 5 of the label has no segment name"),
        ([0, 1], {1: "spleen"}, "'spleen' is not a structure"),
    ],
)
def test_labels_that_cannot_be_told_are_refused(values, names, words):
    with pytest.raises(InputError, match=words):
        rename_labels(np.array(values).reshape(2, 1, 1), Grid((2, 1, 1), np.eye(4)), SCHEMA, names)


_SAVER = """
import sys, numpy as np
from myotome.active_learning.annotations import AnnotationStore, Authorship
from myotome.geometry import Grid
from myotome.structures import LabelMap, LabelSchema, read_label_schema
store, schema = AnnotationStore(sys.argv[1]), read_label_schema()
grid = Grid((60, 60, 20), np.diag([2.0, 2.0, 5.0, 1.0]))
print("ready", flush=True)
for number in range(10**6):
    array = np.random.default_rng(number).integers(0, 5, grid.shape, dtype=np.uint8)
    print(store.save("a", LabelMap(array, grid, schema), grid, Authorship()).version, flush=True)
"""


def test_a_process_killed_while_it_saves_loses_nothing_that_was_confirmed(tmp_path):
    store, confirmed = AnnotationStore(tmp_path / "annotations"), 0
    savers = []
    for number in range(KILLS):
        # The next one warms up while this one is killed.
        while len(savers) < 2:
            command = [sys.executable, "-c", _SAVER, str(store.root)]
            savers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        saver = savers.pop(0)
        assert saver.stdout.readline() == "ready\n"
        time.sleep(random.Random(number).uniform(0.0, 0.15))
        saver.send_signal(signal.SIGKILL)
        confirmed += len([line for line in saver.stdout.read().splitlines() if line.startswith("v")])
        saver.wait()
        versions = store.versions("a")
        assert len(versions) >= confirmed
        for row in versions[-3:]:
            assert store.read(row).array.shape == (60, 60, 20)
    for saver in savers:
        saver.kill()
        saver.wait()
    for row in store.versions("a"):
        store.read(row)


def test_a_hidden_unfinished_folder_is_not_a_version(store):
    store.save("a", label_map(1), GRID, Authorship())
    home = Path(store.root) / "a"
    (home / ".v0002-half").mkdir()
    (home / "v0003").mkdir()
    assert [row.version for row in store.versions("a")] == ["v0001"]
    assert store.save("a", label_map(1), GRID, Authorship()).version == "v0004"
