"""What is kept on disk is used again for the same question, and only for it."""

import torch
from torch import nn

from myotome.training.plane_cache import describe_files, describe_network, keep


def test_it_is_made_once_for_the_same_parts(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"label": torch.arange(4)}

    for parts in (["a", 1], ["a", 1], ["a", 2]):
        assert torch.equal(keep(tmp_path / "cache", parts, make)["label"], torch.arange(4))
    assert len(made) == 2
    keep(None, ["a", 1], make)
    keep(None, ["a", 1], make)
    assert len(made) == 4


def test_a_changed_file_and_a_changed_network_are_others(tmp_path):
    path = tmp_path / "image.nii"
    path.write_bytes(b"one")
    rows = [{"image": str(path), "grade": 2}]
    before = describe_files(rows)
    assert describe_files(rows) == before
    path.write_bytes(b"other")
    assert describe_files(rows) != before
    network = nn.Linear(2, 2)
    digest = describe_network(network)
    assert describe_network(network) == digest
    nn.init.zeros_(network.weight)
    assert describe_network(network) != digest
