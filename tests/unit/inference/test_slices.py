"""A 2.5D network sees each slice with its neighbours, in batches, and gives back every pixel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from myotome.inference import AdjacentSliceInferer


class Neighbours(nn.Module):
    """Gives its three input channels back, and remembers the sizes it was given."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))
        self.shapes = []

    def forward(self, image, *others):
        self.shapes.append(tuple(image.shape))
        return torch.cat((image * self.one, *others), dim=1)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 9])
def test_every_slice_comes_with_its_neighbours_and_the_ends_are_repeated(batch_size):
    volume = torch.arange(5.0).expand(1, 1, 3, 4, 5)
    result = AdjacentSliceInferer(batch_size)(volume, Neighbours())
    assert result.shape == (1, 3, 3, 4, 5)
    assert result[0, :, 2, 3].T.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4]]


def test_slices_are_padded_for_the_network_and_cut_back():
    network = Neighbours()
    volume = torch.rand(1, 1, 17, 30, 3)
    result = AdjacentSliceInferer(2, divisible=16)(volume, network)
    assert network.shapes == [(2, 3, 32, 32), (1, 3, 32, 32)]
    assert torch.equal(result[0, 1], volume[0, 0].half())


def test_a_second_volume_goes_along_slice_by_slice():
    volume, mask = torch.rand(1, 1, 16, 16, 4), torch.arange(4.0).expand(1, 1, 16, 16, 4)
    result = AdjacentSliceInferer(3)(volume, Neighbours(), mask)
    assert result[0, 3, 5, 6].tolist() == [0, 1, 2, 3]


def test_progress_ends_at_one():
    told = []
    AdjacentSliceInferer(2, progress=told.append)(torch.rand(1, 1, 16, 16, 5), Neighbours())
    assert told == pytest.approx([0.4, 0.8, 1.0])
