"""Background suppression and scores agree with their literal forms."""

import pytest
import reference
import torch
import torch.nn.functional as F
from hypothesis import given
from torch import Tensor

from conftest import SHAPES, Shape, quick
from modeling_fbclip import FBCLIPConfig
from modeling_fbclip.scoring_fbclip import (
    Background,
    anomaly_logits,
    background_feature,
    split_scores,
    suppress_and_project,
)

WIDTH, PROJECTED = 10, 6
NUMBERS = {
    "released": {},
    "others": {
        "background_fraction": 0.8,
        "background_max_weight": 0.3,
        "suppression_weight": 0.9,
        "temperature": 0.5,
    },
    "no suppression": {"suppression_weight": 0},
}
every_numbers = pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


PROJECTION = random((PROJECTED, WIDTH), seed=1)
BIAS = random((PROJECTED,), seed=4)  # an adapter may add one to CLIP's projection
TEXT_FEATURES = F.normalize(random((2, PROJECTED), seed=2), dim=-1)
SCALE_WEIGHTS = random((6,), seed=3)


def make_maps(shape: Shape, mean: float = 0) -> Tensor:
    """Six attended maps, two layers of three views: (6, B, N, D)."""
    return mean + random((6, shape.batch_size, 1 + shape.height * shape.width, WIDTH), shape.seed)


def fast_scores(
    maps: Tensor, grid: tuple[int, int], config: FBCLIPConfig, dtype: torch.dtype = torch.float64, bias: Tensor = BIAS
) -> tuple[Tensor, Tensor]:
    maps, weight, bias, text_features = (each.to(dtype) for each in (maps, PROJECTION, bias, TEXT_FEATURES))
    feature = background_feature([maps], config.background_fraction, config.background_max_weight)

    def projection(tokens: Tensor) -> Tensor:
        return F.linear(tokens, weight, bias)

    background = Background.of(feature, projection)
    logits = torch.zeros(())
    for index, tokens in enumerate(maps):
        embeds = suppress_and_project(tokens, background, projection, config.suppression_weight)
        layer_weight = SCALE_WEIGHTS.to(dtype).softmax(dim=0)[index // 3]
        logits = logits + layer_weight * anomaly_logits(embeds, text_features, config.temperature)
    return split_scores(logits, grid)


def literal_scores(maps: Tensor, grid: tuple[int, int], config: FBCLIPConfig) -> tuple[Tensor, Tensor]:
    background = reference.background_feature(list(maps), config)
    embeds = [F.linear(reference.suppress_background(tokens, background, config), PROJECTION, BIAS) for tokens in maps]
    return reference.scores(embeds, TEXT_FEATURES, grid, SCALE_WEIGHTS, config)


@pytest.mark.parametrize("mean", [0.0, 5.0])
@every_numbers
@quick
@given(shape=SHAPES)
def test_scores_and_their_gradients_equal_the_literal_ones(
    numbers: dict[str, float], mean: float, shape: Shape
) -> None:
    config, grid = FBCLIPConfig(**numbers), (shape.height, shape.width)
    maps = make_maps(shape, mean).requires_grad_()
    actual, expected = fast_scores(maps, grid, config), literal_scores(maps, grid, config)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)

    gradients = [
        torch.autograd.grad(scores.sum() + maps_.square().sum(), maps) for scores, maps_ in (actual, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)

    single = fast_scores(maps, grid, config, torch.float32)
    torch.testing.assert_close(single, tuple(part.float() for part in expected), rtol=0, atol=1e-4)


@quick
@given(shape=SHAPES)
def test_zero_tokens_score_as_the_literal_ones_do(shape: Shape) -> None:
    config, grid = FBCLIPConfig(), (shape.height, shape.width)
    maps = make_maps(shape)
    maps[:, :, ::2] = 0
    torch.testing.assert_close(fast_scores(maps, grid, config), literal_scores(maps, grid, config), rtol=0, atol=1e-10)
    _, nothing = fast_scores(torch.zeros_like(maps), grid, config, bias=torch.zeros_like(BIAS))
    torch.testing.assert_close(nothing, torch.full((len(maps[0]), *grid), 0.5).double())


def test_background_is_taken_from_the_first_half_of_the_tokens() -> None:
    first = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [50.0, 50.0], [50.0, 50.0], [50.0, 50.0]]])
    second = torch.tensor([[[-2.0, 0.0], [2.0, 6.0], [50.0, 50.0], [50.0, 50.0], [50.0, 50.0]]])
    background = background_feature([first[None], second[None]], fraction=0.5, max_weight=0.5)
    torch.testing.assert_close(background, torch.tensor([[0.5 * 1 + 0.5 * 3, 0.5 * 2 + 0.5 * 6]]))


def test_a_token_like_the_background_is_halved_and_an_opposite_one_moves_away() -> None:
    tokens = torch.tensor([[[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]]])
    background = torch.tensor([[4.0, 0.0]])
    identity = torch.nn.Identity()
    suppressed = suppress_and_project(tokens, Background.of(background, identity), identity, weight=0.5)
    torch.testing.assert_close(suppressed, torch.tensor([[[1.0, 0.0], [-7.0, 0.0], [-2.0, 2.0]]]))


def test_image_score_is_the_class_token_and_the_map_is_row_by_row() -> None:
    logits = torch.log(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]))  # probability p / (1 + p)
    image_scores, anomaly_maps = split_scores(logits, (2, 3))
    torch.testing.assert_close(image_scores, torch.tensor([1 / 2]))
    torch.testing.assert_close(anomaly_maps, torch.tensor([[[2 / 3, 3 / 4, 4 / 5], [5 / 6, 6 / 7, 7 / 8]]]))
