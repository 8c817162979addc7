"""Tiles are cut and ordered as the answer says, and an image to draw again is itself."""

import numpy as np
import torch

from myotome.networks import Autoencoder, JigsawNetwork, MobileEncoder
from myotome.training import JigsawBatch, ReconstructionBatch, ReconstructionScore, make_permutations


def test_orders_are_permutations_that_differ_in_most_places():
    orders = make_permutations(64)
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(9), (64, 1)))
    apart = [(orders[a] != orders[b]).sum() for a in range(64) for b in range(a)]
    assert min(apart) >= 6
    assert np.array_equal(orders, make_permutations(64)) and np.array_equal(orders[:10], make_permutations(10))


def test_tiles_lie_in_the_order_that_the_answer_names():
    """Each cell has a grating of its own period, so a tile tells where it was cut."""
    batch = {"image": torch.zeros(2, 1, 192, 192), "seed": torch.tensor([5, 6])}
    steps = torch.arange(64.0)
    for place in range(9):
        rows, columns = slice(place // 3 * 64, place // 3 * 64 + 64), slice(place % 3 * 64, place % 3 * 64 + 64)
        batch["image"][:, 0, rows, columns] = (steps % (place + 2) == 0).float()[:, None]
    task = JigsawBatch(192, tile=64)
    tiles, number, _, _ = task(batch, torch.device("cpu"))
    assert tiles.shape == (2, 9, 64, 64)
    for sample, answer in zip(tiles, number, strict=True):
        # Bright rows of each tile; a square cut without a turn has no pixel between two of the image's.
        seen = [int((tile.mean(1) > 0.6).sum()) for tile in sample]
        counts = [len(range(0, 64, place + 2)) for place in range(9)]
        assert seen == [counts[place] for place in task.orders[answer]]


def test_the_brightness_of_a_tile_does_not_tell_its_place():
    ramp = torch.linspace(0, 1, 240).expand(1, 1, 240, 240) * 0.8
    wave = 0.1 * torch.sin(torch.arange(240.0))[:, None]
    batch = {"image": (ramp + wave).clamp(0, 1), "seed": torch.tensor([3])}
    tiles = JigsawBatch(240, tile=64)(batch, torch.device("cpu"))[0]
    assert torch.allclose(tiles.mean((2, 3)), torch.full((1, 9), 0.5), atol=0.02)


def test_an_image_is_what_is_to_be_drawn():
    image = torch.rand(1, 1, 64, 64)
    given, wanted, _, _ = ReconstructionBatch(64)({"image": image, "seed": torch.tensor([1])}, torch.device("cpu"))
    torch.testing.assert_close(given, image)
    torch.testing.assert_close(wanted, image)
    assert float(ReconstructionScore()({"pred": wanted + 0.5, "label": wanted})) == -0.25


def test_the_pretext_networks_train_the_encoder():
    encoder = MobileEncoder()
    for network, given in (
        (Autoencoder(encoder), torch.rand(2, 1, 64, 64)),
        (JigsawNetwork(encoder), torch.rand(2, 9, 32, 32)),
    ):
        encoder.zero_grad()
        output = network(given)
        assert output.shape == ((2, 1, 64, 64) if isinstance(network, Autoencoder) else (2, 64))
        output.square().mean().backward()
        assert encoder.stages[0][0][0].weight.grad.abs().sum() > 0
