"""Losses: small numbers by hand, and agreement with the literal forms."""

import math
from collections.abc import Mapping

import pytest
import reference
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from conftest import SHAPES, Shape, quick
from modeling_fbclip import FBCLIPConfig
from modeling_fbclip.loss_fbclip import consistency_loss, dice_loss, fbclip_losses, focal_loss

NUMBERS: dict[str, Mapping[str, float]] = {
    "released": {},
    "others": {
        "focal_gamma": 2,
        "dice_weight": 0.7,
        "dice_smoothing": 0.1,
        "consistency_weight": 0.4,
        "consistency_margin": 3.0,
        "consistency_margin_weight": 0.8,
        "temperature": 0.5,
    },
}


def test_focal_loss_by_hand() -> None:
    probabilities, targets = torch.tensor([0.8, 0.4]), torch.tensor([1.0, 0.0])
    expected = (-math.log(0.8) * 0.2**4 - math.log(0.6) * 0.4**4) / 2
    assert focal_loss(probabilities, targets, gamma=4).item() == pytest.approx(expected, rel=1e-6)


def test_focal_loss_of_a_certain_mistake_is_clamped_and_of_a_certain_hit_is_zero() -> None:
    assert focal_loss(torch.tensor([0.0]), torch.tensor([1.0]), gamma=4).item() == 100
    assert focal_loss(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]), gamma=4).item() == 0


def test_dice_loss_by_hand() -> None:
    probabilities = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]])
    targets = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    expected = 1 - ((2 * 0.5 + 1) / (1 + 1 + 1) + 1 / (1 + 0 + 1)) / 2
    assert dice_loss(probabilities, targets, smoothing=1).item() == pytest.approx(expected, rel=1e-6)


def test_dice_loss_of_an_empty_mask_found_empty_is_zero() -> None:
    assert dice_loss(torch.zeros(2, 3, 3), torch.zeros(2, 3, 3), smoothing=1).item() == 0


def test_consistency_loss_by_hand() -> None:
    config = FBCLIPConfig(temperature=1.0)
    embeds = torch.tensor([[3.0, 4.0], [5.0, 0.0]])  # cosines 0.6, 0.8 and 1, 0
    expected = 0.0
    for difference in (0.2, -1.0):
        p = 1 / (1 + math.exp(-difference))
        expected += -(p * math.log(p) + (1 - p) * math.log(1 - p)) / 2 + 0.5 * max(0, 1 - abs(difference)) / 2
    assert consistency_loss(embeds, torch.eye(2), config).item() == pytest.approx(0.15 * expected, rel=1e-5)


def test_parts_carry_their_weights_and_add_up() -> None:
    losses = fbclip_losses(
        image_scores=torch.tensor([0.8]),
        anomaly_maps=torch.full((1, 1, 1), 0.5),
        pooled_embeds=torch.tensor([[1.0, 0.0]]),
        text_embeds=torch.eye(2),
        labels=torch.tensor([1]),
        mask_labels=torch.tensor([[[1, 0], [0, 0]]]),
        config=FBCLIPConfig(),
    )
    expected = {
        "image_focal": -math.log(0.8) * 0.2**4,
        "mask_focal": math.log(2) * 0.5**4,
        "dice": 0.2 * (1 - (2 * 0.5 + 1) / (2 + 1 + 1)),
        "consistency": 0.15 * 9.6e-6,  # certain: a margin of 1 / 0.07
    }
    for name, value in expected.items():
        assert losses[f"{name}_loss"].item() == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert losses["loss"].item() == pytest.approx(sum(expected.values()), rel=1e-4)


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
@quick
@given(shape=SHAPES, mask_size=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_losses_and_gradients_equal_the_literal_ones(
    numbers: Mapping[str, float], shape: Shape, mask_size: tuple[int, int]
) -> None:
    config = FBCLIPConfig(**numbers)
    scores = random((shape.batch_size,), shape.seed).sigmoid().requires_grad_()
    maps = random((shape.batch_size, shape.height, shape.width), shape.seed).sigmoid().requires_grad_()
    embeds = random((shape.batch_size, 1 + shape.height * shape.width, 6), shape.seed).requires_grad_()
    text = F.normalize(random((2, 6), shape.seed + 1), dim=-1).requires_grad_()
    masks = (random((shape.batch_size, *mask_size), shape.seed) > 1).double()
    labels = masks.flatten(1).any(dim=1).long()

    consistency = reference.consistency_loss(embeds, text, config)
    expected = reference.losses(scores, maps, consistency, labels, masks, config)
    actual = fbclip_losses(scores, maps, embeds.mean(dim=1), text, labels, masks, config)
    for name in ("image_focal", "mask_focal", "dice", "consistency"):
        torch.testing.assert_close(actual[f"{name}_loss"], expected[name], rtol=0, atol=1e-12)
    inputs = (scores, maps, embeds, text)
    gradients = torch.autograd.grad(actual["loss"], inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected["loss"], inputs), rtol=0, atol=1e-10)
