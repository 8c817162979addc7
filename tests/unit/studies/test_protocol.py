"""A study's configuration and folder: what is read, what is taken, and what is left alone."""

from __future__ import annotations

import pytest

from myotome.errors import InputError, OutputError
from myotome.studies.protocol import (
    claim_folder,
    compute_fingerprint,
    read_protocol,
    refuse_other_kinds,
    refuse_unknown_parts,
)


def test_a_preset_lies_over_the_parts(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("seed: 1\nfolds: 5\npresets: {quick: {folds: 2}}\n")
    assert read_protocol(path) == {"seed": 1, "folds": 5}
    assert read_protocol(path, "quick") == {"seed": 1, "folds": 2}
    with pytest.raises(InputError, match="no preset 'fast': it has quick"):
        read_protocol(path, "fast")


def test_a_file_that_is_no_configuration_is_refused(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    for name in ("list.yaml", "absent.yaml"):
        with pytest.raises(InputError, match="give a YAML file"):
            read_protocol(tmp_path / name)


@pytest.mark.parametrize(("table", "part"), [({"seed": 1}, "folds"), ({"seed": 1, "folds": 2, "sead": 3}, "sead")])
def test_missing_and_unknown_parts_are_named(table, part):
    with pytest.raises(InputError, match=f"'{part}'.: begin with a copy of example.yaml"):
        refuse_unknown_parts(table, ["seed", "folds"], "example.yaml")


def test_a_part_of_another_kind_is_refused_and_other_errors_are_left_alone():
    sentence = r"part of another kind \(.*not iterable\): begin with a copy of example.yaml"
    with pytest.raises(InputError, match=sentence), refuse_other_kinds("example.yaml"):
        tuple(3)
    with pytest.raises(OSError, match="no disk"), refuse_other_kinds("example.yaml"):
        raise OSError("no disk")


def test_fingerprints_tell_settings_apart_whatever_their_order():
    assert compute_fingerprint({"a": 1, "b": 2}) == compute_fingerprint({"b": 2, "a": 1})
    assert compute_fingerprint({"a": 1}) != compute_fingerprint({"a": 2})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    claim_folder(tmp_path / "new", "goutallier", "11111111")
    claim_folder(tmp_path / "new", "goutallier", "11111111")
    with pytest.raises(OutputError, match="other settings"):
        claim_folder(tmp_path / "new", "goutallier", "22222222")
    with pytest.raises(OutputError, match="something else"):
        claim_folder(tmp_path / "new", "l3-transfer", "11111111")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="something else"):
        claim_folder(tmp_path / "other", "goutallier", "11111111")
