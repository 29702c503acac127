"""Foreground mask and the three views of a layer's tokens, in fast forms with the paper's exact numbers.

The semantic and the spatial view are *linear in the tokens* once their weights are known, which depend on CLIP's
tokens only. So a view is a small object that mixes rows: those of the tokens, or of projections that all views share.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .configuration_fbclip import FBCLIPConfig
from .scoring_fbclip import upcast

ROWS_IN_CACHE = 2  # grid rows that fit a CPU's cache: six times faster than the whole grid at once


@torch.no_grad()
def foreground_mask(tokens: Tensor, previous_tokens: Tensor, config: FBCLIPConfig) -> Tensor:
    """
    Which patches of a layer are foreground (paper, foreground mask): 1 for foreground, `config.background_value` for
    background, `(B, l)` in float32. From the tokens `(B, N, D)` of the layer and of the previous feature layer. The
    first has none: it takes its own tokens, as no change weighs nothing.
    """
    cls_token, patches = split_cls(upcast(tokens))
    padded = F.pad(patches, (0, 0, 1, 1))  # zeros at the ends count in the local mean
    saliency = (padded[:, :-2] + padded[:, 2:]).sub_(patches, alpha=2).norm(dim=-1) / 3  # x_i minus its local mean
    center_distance = (patches - patches.mean(dim=1, keepdim=True)).norm(dim=-1)
    change = (patches - upcast(previous_tokens)[:, 1:]).norm(dim=-1)
    score = (
        config.foreground_saliency_weight * min_max(saliency)
        + config.foreground_center_weight * min_max(center_distance)
        + config.foreground_cls_weight * min_max(1 - cosine(patches, cls_token))
        + config.foreground_change_weight * min_max(change)
    )
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
    period = torch.full_like(positions, torch.sym_max(2 * (length - 1), 1))  # a tensor, as exporters need it
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

    def parts(self, count: int) -> list["View"]:
        """The views of equal parts of a batch."""
        weights = zip(*(each.unflatten(0, (count, -1)) for each in self.weights), strict=True)
        return [replace(self, weights=own) for own in weights]


@dataclass
class LayerViews:
    """A layer's foreground mask, `(B, l)`, and its views: "ID" (identity), "SEM" (semantic), "SPA" (spatial)."""

    foreground: Tensor
    views: dict[str, View]


def build_views(layer_tokens: list[Tensor], grid: tuple[int, int], config: FBCLIPConfig) -> list[LayerViews]:
    """The views of each layer, from the layers' tokens `(B, N, D)` and `(grid_height, grid_width)`."""
    tokens = torch.cat(layer_tokens)  # layers need nothing of one another, so they are a batch
    foreground = foreground_mask(tokens, torch.cat([layer_tokens[0], *layer_tokens[:-1]]), config)
    semantic = SemanticView.build(tokens, foreground, config)
    spatial = SpatialView.build(tokens, foreground, grid, config)
    count = len(layer_tokens)
    views = zip(foreground.unflatten(0, (count, -1)), semantic.parts(count), spatial.parts(count), strict=True)
    return [LayerViews(own, {"ID": View(), "SEM": sem, "SPA": spa}) for own, sem, spa in views]


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

        # CLS is a set of its own, so that it stays unchanged with its identity share.
        one = tokens.new_ones(tokens.shape[0], 1, 1)
        weights = torch.stack([foreground_weight, background_weight], dim=-1).to(tokens.dtype)
        set_weights = config.semantic_mix * torch.cat([F.pad(one, (2, 0)), F.pad(weights, (0, 1))], dim=1)
        own_mean = F.pad(one, (0, foreground.shape[1]))
        set_means = torch.cat([F.pad(membership.to(tokens.dtype), (1, 0)), own_mean], dim=1)
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
        mix_spatially: Any = mix_in_graph if torch.compiler.is_compiling() else SpatialMix.apply
        mixed: Tensor = mix_spatially(features, *weights, self.window)
        return mixed


def mix_in_graph(features: Tensor, weights: Tensor, window: int) -> Tensor:
    """As [`SpatialMix`], in few steps that make one graph for every size. It copies the blocks of grid rows."""
    cls_token, patches = split_cls(features)
    _, height, width, _ = weights.shape
    rows = pad_rows(patches, weights, window).unflatten(1, (-1, width))  # (B, h + window - 1, w, K)
    blocks = gather(rows, 1, around(height, window, features.device)).flatten(2, 3)  # (B, h, window · w, K)
    return torch.cat([cls_token, (weights @ blocks).flatten(1, 2)], dim=1)


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
    masked = F.pad((foreground.unsqueeze(-1) * patches).unflatten(1, grid), (0, 0) + (window // 2,) * 4)
    mean = F.avg_pool2d(masked.permute(0, 3, 1, 2), window, stride=1).permute(0, 2, 3, 1)
    distance = tap_distances(masked, mean, window)
    inconsistency = 1 - windows(cosine(patches, cls_token).view(as_grid), window)
    background_logits = windows(((1 - foreground) * along(patches, cls_token)).view(as_grid), window)

    foreground_weights = (inconsistency * distance).softmax(-1) * inside
    background_weights = background_logits.softmax(-1) * complement
    taps = foreground_weights / inside.sum(-1, keepdim=True).clamp(min=1e-8)
    taps = taps + background_weights / complement.sum(-1, keepdim=True).clamp(min=1e-8)
    return taps.unflatten(-1, (window, window))


def tap_distances(padded: Tensor, mean: Tensor, window: int) -> Tensor:
    """Distances of the taps of padded patches from the windows' means `(B, h, w, D)`: `(B, h, w, window²)`."""
    if padded.device.type != "cpu" or torch.compiler.is_compiling():
        return distances_of_rows(padded, mean, window)
    images = []
    for image, image_mean in zip(padded.split(1), mean.split(1), strict=True):
        starts = range(0, mean.shape[1], ROWS_IN_CACHE)
        parts = [(image[:, start:], image_mean[:, start : start + ROWS_IN_CACHE]) for start in starts]
        images.append(torch.cat([distances_of_rows(*part, window) for part in parts], dim=1))
    return torch.cat(images)


def distances_of_rows(padded: Tensor, mean: Tensor, window: int) -> Tensor:
    """[`tap_distances`] in one piece."""
    rows = [beside(padded.narrow(1, y, mean.shape[1]), window) for y in range(window)]  # (B, h, w, window, D) each
    return torch.cat([(taps - mean.unsqueeze(3)).norm(dim=-1) for taps in rows], dim=-1)


def beside(rows: Tensor, window: int) -> Tensor:
    """The taps to the left and to the right, of padded rows of vectors, `(B, h, w + …, D)`: `(B, h, w, window, D)`."""
    if torch.compiler.is_compiling():  # one gather; a graph would spell `unfold` out, place by place
        return gather(rows, 2, around(rows.shape[2] - window + 1, window, rows.device))
    return rows.unfold(2, window, 1).transpose(3, 4)


def windows(values: Tensor, window: int) -> Tensor:
    """Scalars of a `(B, h, w)` grid around each patch, zeros outside: `(B, h, w, window²)`."""
    rows, columns = (around(size, window, values.device) for size in values.shape[1:])
    taps = gather(gather(F.pad(values, (window // 2,) * 4), 2, columns), 1, rows)  # (B, h, window, w, window)
    return taps.transpose(2, 3).flatten(-2)


def around(size: int, window: int, device: torch.device) -> Tensor:
    """Where the taps of each of `size` places lie on a padded side: `(size, window)`."""
    return torch.arange(size, device=device).unsqueeze(1) + torch.arange(window, device=device)


def gather(values: Tensor, dim: int, places: Tensor) -> Tensor:
    """The values at the places, `(M, window)`, of one dimension, which becomes two."""
    return values.index_select(dim, places.flatten()).unflatten(dim, places.shape)
