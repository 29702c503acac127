"""Vision tokens, foreground mask, views and attention agree with their literal forms at random shapes."""

from dataclasses import dataclass, replace
from functools import cache

import pytest
import reference
import torch
from hypothesis import given
from torch import Tensor

from conftest import SHAPES, Shape, in_official_names, make_tiny_clip, quick, randomize
from modeling_fbclip import FBCLIPConfig
from modeling_fbclip.attention_fbclip import FBCLIPAttention
from modeling_fbclip.backbone_fbclip import resize_positions, vision_layer_tokens
from modeling_fbclip.vision_fbclip import SemanticView, SpatialView, View, foreground_mask

WIDTH = 12
TOKENS = ("plain", "large channel mean", "zero CLS token", "zero patches", "nearly equal patches")
MASKS = ("mixed", "all foreground", "all background")
TIGHT = {"rtol": 0, "atol": 1e-12}

every_kind = pytest.mark.parametrize("kind", TOKENS)
every_mask = pytest.mark.parametrize("mask", MASKS)


@dataclass(frozen=True)
class Layer:
    """A layer's tokens, those of the layer before, and a foreground mask."""

    tokens: Tensor
    previous_tokens: Tensor
    foreground: Tensor
    grid: tuple[int, int]
    config: FBCLIPConfig

    def float(self) -> "Layer":
        return replace(self, tokens=self.tokens.float(), foreground=self.foreground.float())


@cache
def make_config(attention: str = "sdpa", **overrides: float) -> FBCLIPConfig:
    vision_config = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = FBCLIPConfig(
        clip_config={"vision_config": vision_config},
        feature_layers=[1],
        image_size=224,
        attention_heads=2,
        attention_head_dim=4,
        **overrides,
    )
    config._attn_implementation = attention
    return config


def make_layer(shape: Shape, kind: str = "plain", mask: str = "mixed", **overrides: float | str) -> Layer:
    generator = torch.Generator().manual_seed(shape.seed)
    size = (shape.batch_size, 1 + shape.height * shape.width, WIDTH)
    tokens, previous_tokens = torch.randn((2, *size), generator=generator, dtype=torch.float64)
    if kind == "large channel mean":
        tokens = tokens + 5
    elif kind == "zero CLS token":
        tokens[:, 0] = 0
    elif kind == "zero patches":
        tokens[:, 1::2] = 0
    elif kind == "nearly equal patches":
        tokens[:, 1:] = tokens[:, 1:2] + 1e-7 * tokens[:, 1:]
    config = make_config(**overrides)
    share = {"mixed": 0.5, "all foreground": 1.0, "all background": 0.0}[mask]
    is_background = torch.rand(size[0], size[1] - 1, generator=generator) >= share
    foreground = torch.ones_like(tokens[:, 1:, 0]).masked_fill(is_background, config.background_value)
    return Layer(tokens, previous_tokens, foreground, (shape.height, shape.width), config)


def build_views(layer: Layer) -> dict[str, View]:
    return {
        "identity": View(),
        "semantic": SemanticView.build(layer.tokens, layer.foreground, layer.config),
        "spatial": SpatialView.build(layer.tokens, layer.foreground, layer.grid, layer.config),
    }


def reference_views(layer: Layer) -> dict[str, Tensor]:
    return {
        "identity": layer.tokens,
        "semantic": reference.semantic_view(layer.tokens, layer.foreground, layer.config),
        "spatial": reference.spatial_view(layer.tokens, layer.foreground, layer.grid, layer.config),
    }


@pytest.mark.parametrize("size", [(32, 32), (40, 24), (8, 8), (8, 56)])
def test_vision_tokens_of_square_and_other_images(size: tuple[int, int]) -> None:
    clip = make_tiny_clip().double()
    pixel_values = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = reference.vision_tokens(clip, pixel_values, [1, 3])
    actual = vision_layer_tokens(clip.vision_model, pixel_values, [1, 3])
    torch.testing.assert_close(actual, expected, **TIGHT)


def test_vision_blocks_above_the_last_feature_layer_do_not_run() -> None:
    clip = make_tiny_clip()
    pixel_values = torch.ones(1, 3, 32, 32)
    expected = vision_layer_tokens(clip.vision_model, pixel_values, [1, 2])
    del clip.vision_model.encoder.layers[2:]
    torch.testing.assert_close(vision_layer_tokens(clip.vision_model, pixel_values, [1, 2]), expected, rtol=0, atol=0)


def test_position_embedding_between_two_patches_is_their_bilinear_mean() -> None:
    positions = torch.tensor([[[0.0], [1.0], [0.0], [1.0]]])  # rows (0 1), (0 1)
    torch.testing.assert_close(resize_positions(positions, 1, 4), torch.tensor([[[0.0], [0.25], [0.75], [1.0]]]))


@every_kind
@pytest.mark.parametrize("previous", ["none", "another", "the same"])
@quick
@given(shape=SHAPES)
def test_foreground_mask_is_exactly_the_literal_one(kind: str, previous: str, shape: Shape) -> None:
    layer = make_layer(shape, kind)
    previous_tokens = {"none": None, "another": layer.previous_tokens, "the same": layer.tokens}[previous]
    expected = reference.foreground_mask(layer.tokens, previous_tokens, layer.config)
    score = reference.foreground_score(layer.tokens, previous_tokens, layer.config)
    previous_tokens = layer.tokens if previous_tokens is None else previous_tokens
    clear = (score - layer.config.foreground_threshold).abs() > 1e-7
    actual = foreground_mask(layer.tokens, previous_tokens, layer.config)
    torch.testing.assert_close(actual[clear], expected[clear], rtol=0, atol=0)


@quick
@given(shape=SHAPES)
def test_foreground_mask_reads_every_number_of_the_config(shape: Shape) -> None:
    layer = make_layer(
        shape,
        foreground_saliency_weight=0.5,
        foreground_center_weight=0.1,
        foreground_cls_weight=0.2,
        foreground_change_weight=0.7,
        foreground_smoothing_window=3,
        foreground_threshold=0.7,
        background_value=0.3,
    )
    expected = reference.foreground_mask(layer.tokens, layer.previous_tokens, layer.config)
    actual = foreground_mask(layer.tokens, layer.previous_tokens, layer.config)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@every_mask
@every_kind
@quick
@given(shape=SHAPES)
def test_views_equal_the_literal_ones(kind: str, mask: str, shape: Shape) -> None:
    layer = make_layer(shape, kind, mask)
    views, expected = build_views(layer), reference_views(layer)
    single_views = build_views(layer.float())
    for name in ("semantic", "spatial"):
        torch.testing.assert_close(views[name](layer.tokens), expected[name], **TIGHT)
        single = single_views[name](layer.tokens.float())
        torch.testing.assert_close(single.double(), expected[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("background_value", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("spatial_window", [1, 3, 7])
@quick
@given(shape=SHAPES)
def test_views_read_every_number_of_the_config(background_value: float, spatial_window: int, shape: Shape) -> None:
    numbers = {"background_value": background_value, "spatial_window": spatial_window, "semantic_mix": 0.9}
    layer = make_layer(shape, **numbers)
    views, expected = build_views(layer), reference_views(layer)
    for name in ("semantic", "spatial"):
        torch.testing.assert_close(views[name](layer.tokens), expected[name], **TIGHT)


@every_mask
@quick
@given(shape=SHAPES)
def test_views_are_linear_so_that_projections_may_come_first(mask: str, shape: Shape) -> None:
    layer = make_layer(shape, mask=mask)
    matrix = torch.linspace(-1, 1, WIDTH * 5, dtype=torch.float64).view(WIDTH, 5)
    views, expected = build_views(layer), reference_views(layer)
    for name, view in views.items():
        torch.testing.assert_close(view(layer.tokens @ matrix), expected[name] @ matrix, **TIGHT)


@pytest.mark.parametrize("name", ["semantic", "spatial"])
def test_gradients_flow_through_the_views(name: str) -> None:
    tokens = torch.randn(2, 1 + 3 * 4, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    foreground = torch.tensor([1.0, 0.5, 0.5] * 4, dtype=torch.float64).expand(2, -1)
    view = build_views(Layer(tokens, tokens, foreground, (3, 4), make_config()))[name]
    features = tokens[..., :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(view, features)


def attend_to_views(attention: FBCLIPAttention, layer: Layer) -> dict[str, Tensor]:
    """The attended map of each view, from projections that the views share."""
    projections, *constants = attention.project(layer.tokens)
    return {name: attention(view(projections), *constants) for name, view in build_views(layer).items()}


def literal_attend_to_views(attention: FBCLIPAttention, layer: Layer) -> dict[str, Tensor]:
    official = in_official_names({f"attention.{name}": value for name, value in attention.named_parameters()})
    views = reference_views(layer)
    return {name: reference.attention(tokens, official, layer.config) for name, tokens in views.items()}


# CLIP's eager attention computes its softmax in float32.
@pytest.mark.parametrize(("implementation", "tolerance"), [("sdpa", 1e-11), ("eager", 1e-5)])
@every_kind
@quick
@given(shape=SHAPES)
def test_attention_on_shared_projections_equals_attention_on_each_view(
    implementation: str, tolerance: float, kind: str, shape: Shape
) -> None:
    layer = make_layer(shape, kind, attention=implementation)
    attention = FBCLIPAttention(layer.config).double()
    randomize(attention, seed=shape.seed, std=0.5)
    actual, expected = attend_to_views(attention, layer), literal_attend_to_views(attention, layer)
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)

    single = attend_to_views(attention.float(), layer.float())
    for name, value in expected.items():
        torch.testing.assert_close(single[name].double(), value, rtol=0, atol=1e-3)


@every_kind
@quick
@given(shape=SHAPES)
def test_attention_gradients_equal_the_literal_ones(kind: str, shape: Shape) -> None:
    layer = make_layer(shape, kind, attention_layer_norm_eps=0.1)
    attention = FBCLIPAttention(layer.config).double()
    randomize(attention, seed=shape.seed, std=0.5)
    weights = torch.linspace(-1, 1, layer.tokens.numel(), dtype=torch.float64).view_as(layer.tokens)
    fast = sum((tokens * weights).sum() for tokens in attend_to_views(attention, layer).values())
    literal = sum((tokens * weights).sum() for tokens in literal_attend_to_views(attention, layer).values())
    names, parameters = zip(*attention.named_parameters(), strict=True)
    actual = torch.autograd.grad(fast, parameters)
    expected = torch.autograd.grad(literal, parameters)
    for name, gradient, other in zip(names, actual, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-8, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")
