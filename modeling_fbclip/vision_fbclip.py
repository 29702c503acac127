"""Foreground mask and the three views of a layer's tokens, in fast forms with the paper's exact numbers.

The semantic and the spatial view are *linear in the tokens* once their weights are known, which depend on CLIP's
tokens only. So a view is a small object that mixes rows: those of the tokens, or of projections that all views share.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .configuration_fbclip import FBCLIPConfig
from .scoring_fbclip import upcast

ROWS_IN_CACHE = 4  # grid rows that fit a CPU's cache: six times faster than the whole grid at once


@torch.no_grad()
def foreground_mask(tokens: Tensor, previous_tokens: Tensor | None, config: FBCLIPConfig) -> Tensor:
    """
    Which patches of a layer are foreground (paper, foreground mask): 1 for foreground, `config.background_value` for
    background, `(B, l)` in float32. From the tokens `(B, N, D)` of the layer and of the previous feature layer.
    """
    cls_token, patches = split_cls(upcast(tokens))
    padded = F.pad(patches, (0, 0, 1, 1))  # zeros at the ends count in the local mean
    saliency = (padded[:, :-2] + padded[:, 2:]).sub_(patches, alpha=2).norm(dim=-1) / 3  # x_i minus its local mean
    center_distance = (patches - patches.mean(dim=1, keepdim=True)).norm(dim=-1)
    score = (
        config.foreground_saliency_weight * min_max(saliency)
        + config.foreground_center_weight * min_max(center_distance)
        + config.foreground_cls_weight * min_max(1 - cosine(patches, cls_token))
    )
    if previous_tokens is not None:
        change = (patches - upcast(previous_tokens)[:, 1:]).norm(dim=-1)
        score = score + config.foreground_change_weight * min_max(change)
    score = box_filter(score, config.foreground_smoothing_window)
    return torch.where(score > config.foreground_threshold, torch.ones_like(score), config.background_value)


def split_cls(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """`(B, N, D)` → CLS token `(B, 1, D)` and patches `(B, N - 1, D)`."""
    return tokens[:, :1], tokens[:, 1:]


def cosine(patches: Tensor, cls_token: Tensor) -> Tensor:
    """Cosine of `(B, l, D)` patches with `(B, 1, D)` CLS tokens; 0 for a zero vector. `(B, l)`."""
    return along(patches, cls_token) / patches.norm(dim=-1).clamp(min=1e-12)


def along(patches: Tensor, cls_token: Tensor) -> Tensor:
    """Length of the `(B, l, D)` patches in the direction of the `(B, 1, D)` CLS tokens. `(B, l)`."""
    return (patches @ F.normalize(cls_token, dim=-1).transpose(1, 2)).squeeze(-1)


def min_max(values: Tensor) -> Tensor:
    """Each row of `(B, l)` stretched to 0 … 1; a constant row becomes 0."""
    low, high = values.aminmax(dim=-1, keepdim=True)
    return (values - low) / (high - low).clamp(min=1e-6)


def box_filter(values: Tensor, window: int) -> Tensor:
    """Moving average along each row of `(B, l)`, reflected at the ends (the end itself is not repeated)."""
    length = values.shape[-1]
    positions = torch.arange(-(window // 2), length + window // 2, device=values.device)
    period = torch.sym_max(2 * (length - 1), 1)
    positions = positions.remainder(period)
    positions = torch.minimum(positions, period - positions).clamp(max=length - 1)
    return values[:, positions].unfold(-1, window, 1).mean(dim=-1)


@dataclass
class View:
    """A linear map of tokens, or of projections of them, `(B, N, K)`, to the same shape. This one is the identity."""

    weights: tuple[Tensor, ...] = ()

    def __call__(self, features: Tensor) -> Tensor:
        return self.mix(features, *self.weights)

    def mix(self, features: Tensor, *_: Tensor) -> Tensor:
        """The map with the weights as arguments, as gradient checkpointing needs them."""
        return features


@dataclass
class LayerViews:
    """A layer's foreground mask, `(B, l)`, and its views: "ID" (identity), "SEM" (semantic), "SPA" (spatial)."""

    foreground: Tensor
    views: dict[str, View]


def build_views(layer_tokens: list[Tensor], grid: tuple[int, int], config: FBCLIPConfig) -> list[LayerViews]:
    """The views of each layer, from the layers' tokens `(B, N, D)` and `(grid_height, grid_width)`."""
    layers: list[LayerViews] = []
    for tokens, previous_tokens in zip(layer_tokens, [None, *layer_tokens[:-1]], strict=True):
        foreground = foreground_mask(tokens, previous_tokens, config)
        views: dict[str, View] = {
            "ID": View(),
            "SEM": SemanticView.build(tokens, foreground, config),
            "SPA": SpatialView.build(tokens, foreground, grid, config),
        }
        layers.append(LayerViews(foreground, views))
    return layers


@dataclass
class SemanticView(View):
    """
    Semantic view: each patch mixed with the mean foreground and the mean background patch. In the paper's two l × l
    softmaxes, a row has only two different values, so its sum over a set of patches is a sigmoid.

    `weights` are those of the mean foreground patch, the mean background patch and the CLS token, `(B, N, 3)`, and the
    rows that compute these three, `(B, 3, N)`, zero for an empty set.
    """

    identity_share: float = 1  # weight of the token itself

    @classmethod
    def build(cls, tokens: Tensor, foreground: Tensor, config: FBCLIPConfig) -> "SemanticView":
        cls_token, patches = split_cls(upcast(tokens))
        similarity = cosine(patches, cls_token)  # (B, l)
        is_foreground = foreground == 1
        counts = torch.stack([is_foreground.sum(-1), (~is_foreground).sum(-1)], dim=-1)  # (B, 2)
        log_odds = counts.to(foreground).log().diff(dim=-1)  # ln n_background - ln n_foreground, ±∞ for an empty set
        step = 1 - config.background_value
        on_foreground = torch.sigmoid(step * foreground * (1 - similarity) - log_odds)
        on_background = torch.sigmoid(step * (1 - foreground) * similarity + log_odds)
        foreground_weight = foreground * on_foreground + (1 - foreground) * (1 - on_background)
        background_weight = foreground * (1 - on_foreground) + (1 - foreground) * on_background
        membership = torch.stack([is_foreground, ~is_foreground], dim=1).to(foreground)
        membership = membership / counts.clamp(min=1).unsqueeze(-1)

        batch_size, num_tokens, _ = tokens.shape
        set_weights = tokens.new_zeros(batch_size, num_tokens, 3)
        set_weights[:, 1:, 0] = config.semantic_mix * foreground_weight
        set_weights[:, 1:, 1] = config.semantic_mix * background_weight
        set_weights[:, 0, 2] = config.semantic_mix  # with its identity share, CLS stays unchanged
        set_means = tokens.new_zeros(batch_size, 3, num_tokens)
        set_means[:, :2, 1:] = membership
        set_means[:, 2, 0] = 1
        return cls((set_weights, set_means), 1 - config.semantic_mix)

    def mix(self, features: Tensor, *weights: Tensor) -> Tensor:
        set_weights, set_means = weights
        return torch.baddbmm(features, set_weights, set_means @ features, beta=self.identity_share)


@dataclass
class SpatialView(View):
    """
    Spatial view: each patch becomes a weighted sum over the window of patches around it; CLS stays unchanged.

    `weights` are those of all patches in the `window` grid rows around a patch, `(B, h, w, window · w)`. Rows outside
    the image are zero.
    """

    window: int = 1

    @classmethod
    def build(cls, tokens: Tensor, foreground: Tensor, grid: tuple[int, int], config: FBCLIPConfig) -> "SpatialView":
        taps = spatial_tap_weights(upcast(tokens), foreground, grid, config.spatial_window)
        return cls.from_taps(taps.to(tokens.dtype))

    @classmethod
    def from_taps(cls, taps: Tensor) -> "SpatialView":
        """From the weights of all windows, `(B, h, w, window, window)`; those outside the image do not count."""
        _, _, width, window, _ = taps.shape
        band_width = width + window - 1
        # The taps of column x belong x places to the right: rows with `width` zeros behind, read one place shorter.
        rows = F.pad(taps.transpose(2, 3), (0, width)).flatten(-2)
        band = rows.narrow(-1, 0, width * band_width).unflatten(-1, (width, band_width))  # (B, h, window, w, …)
        inside = band.narrow(-1, window // 2, width)
        return cls((inside.transpose(2, 3).flatten(-2),), window)

    def mix(self, features: Tensor, *weights: Tensor) -> Tensor:
        mix_spatially: Any = mix_row_by_row if torch.compiler.is_compiling() else SpatialMix.apply
        mixed: Tensor = mix_spatially(features, *weights, self.window)
        return mixed


def mix_row_by_row(features: Tensor, weights: Tensor, window: int) -> Tensor:
    """As [`SpatialMix`], in steps that make one graph for every size: a product for each row of the window."""
    cls_token, patches = split_cls(features)
    _, height, width, _ = weights.shape
    rows = pad_rows(patches, weights, window).unflatten(1, (-1, width))  # (B, h + window - 1, w, K)
    by_row = weights.unflatten(3, (window, width)).unbind(3)
    mixed = torch.stack([own @ rows.narrow(1, row, height) for row, own in enumerate(by_row)]).sum(dim=0)
    return torch.cat([cls_token, mixed.flatten(1, 2)], dim=1)


def pad_rows(patches: Tensor, weights: Tensor, window: int) -> Tensor:
    """Patches `(B, h · w, K)` with grid rows of zeros above and below, as many as a window reaches."""
    margin = window // 2 * weights.shape[2]
    return F.pad(patches, (0, 0, margin, margin))


def row_blocks(padded: Tensor, weights: Tensor) -> Tensor:
    """The overlapping blocks of grid rows, one around each row, without a copy: `(B, h, window · w, K)`."""
    return padded.unfold(1, weights.shape[3], weights.shape[2]).transpose(2, 3)


class SpatialMix(torch.autograd.Function):
    """The computation of [`SpatialView`]. Autograd of its single steps would copy every block of grid rows."""

    @staticmethod
    def forward(features: Tensor, weights: Tensor, window: int) -> Tensor:
        cls_token, patches = split_cls(features)
        blocks = row_blocks(pad_rows(patches, weights, window), weights)
        mixed = torch.empty_like(features)
        mixed[:, :1] = cls_token
        weights = weights.to(features.dtype)  # autocast may give another dtype
        for image, own_weights, own_blocks in zip(mixed[:, 1:], weights, blocks, strict=True):  # no copy of blocks
            torch.bmm(own_weights, own_blocks, out=image.unflatten(0, weights.shape[1:3]))
        return mixed

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:  # noqa: ARG004
        features, weights, ctx.window = inputs
        # The weights depend on CLIP's tokens only. They get a gradient if CLIP is trained too.
        ctx.save_for_backward(weights, features if ctx.needs_input_grad[1] else None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        gradient = gradients[0]
        saved_weights, features = ctx.saved_tensors
        weights = saved_weights.to(gradient.dtype)
        _, height, width, block = weights.shape
        margin = ctx.window // 2 * width
        cls_gradient, patch_gradients = split_cls(gradient)
        rows = patch_gradients.unflatten(1, (height, width))
        padded = gradient.new_zeros(len(gradient), 2 * margin + height * width, gradient.shape[-1])
        for row in range(height):
            start = row * width
            padded[:, start : start + block].baddbmm_(weights[:, row].transpose(1, 2), rows[:, row])
        weights_gradient = None
        if features is not None:
            blocks = row_blocks(pad_rows(features[:, 1:], weights, ctx.window), weights)
            products = [rows[:, row] @ blocks[:, row].transpose(1, 2).to(rows.dtype) for row in range(height)]
            weights_gradient = torch.stack(products, dim=1).to(saved_weights.dtype)
        return torch.cat([cls_gradient, padded.narrow(1, margin, height * width)], dim=1), weights_gradient, None


def spatial_tap_weights(tokens: Tensor, foreground: Tensor, grid: tuple[int, int], window: int) -> Tensor:
    """
    The weights of the spatial view, `(B, h, w, window, window)`: the sum of the foreground and the background stream,
    from a layer's tokens `(B, N, D)` and foreground mask `(B, l)`. Taps outside the image take part in both softmaxes,
    but their weights have no effect, because their vectors are zero.
    """
    cls_token, patches = split_cls(tokens)
    as_grid = (tokens.shape[0], *grid)
    inside = windows(foreground.view(as_grid), window)  # (B, h, w, window²), 0 outside the image
    complement = 1 - inside
    mean = SpatialView.from_taps(inside.unflatten(-1, (window, window)) / window**2)(tokens)[:, 1:]
    masked = F.pad((foreground.unsqueeze(-1) * patches).unflatten(1, grid), (0, 0) + (window // 2,) * 4)
    distance = tap_distances(masked, mean.unflatten(1, grid), window)
    inconsistency = 1 - windows(cosine(patches, cls_token).view(as_grid), window)
    background_logits = windows(((1 - foreground) * along(patches, cls_token)).view(as_grid), window)

    foreground_weights = (inconsistency * distance).softmax(-1) * inside
    background_weights = background_logits.softmax(-1) * complement
    taps = foreground_weights / inside.sum(-1, keepdim=True).clamp(min=1e-8)
    taps = taps + background_weights / complement.sum(-1, keepdim=True).clamp(min=1e-8)
    return taps.unflatten(-1, (window, window))


def tap_distances(padded: Tensor, mean: Tensor, window: int) -> Tensor:
    """Distances of the taps of padded patches from the windows' means `(B, h, w, D)`: `(B, h, w, window²)`."""
    if padded.device.type == "cpu" and not torch.compiler.is_compiling() and mean.shape[1] > ROWS_IN_CACHE:
        blocks = []
        for start in range(0, mean.shape[1], ROWS_IN_CACHE):
            own = mean[:, start : start + ROWS_IN_CACHE]
            blocks.append(tap_distances(padded[:, start : start + own.shape[1] + window - 1], own, window))
        return torch.cat(blocks, dim=1)
    _, height, _, _ = mean.shape
    rows = [padded.narrow(1, y, height).unfold(2, window, 1) for y in range(window)]  # (B, h, w, D, window) each
    if torch.compiler.is_compiling():  # columns and taps have the same stride, which would ask for the larger
        rows = [row.contiguous() for row in rows]
    return torch.stack([(taps - mean.unsqueeze(-1)).norm(dim=3) for taps in rows], dim=-2).flatten(-2)


def windows(values: Tensor, window: int) -> Tensor:
    """Scalars of a `(B, h, w)` grid around each patch, zeros outside: `(B, h, w, window²)`."""
    padded = F.pad(values, (window // 2,) * 4)
    return padded.unfold(1, window, 1).unfold(2, window, 1).flatten(-2)
