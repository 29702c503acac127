"""FB-CLIP in its most literal form: one plain function a step, as slow and as obvious as the paper's text.

The fast modules are tested against these functions, and `make benchmark` times both. Only torch is needed;
where a CLIP is asked for, it is a transformers `CLIPModel`. `parameters` is a dict in the names of the
authors' checkpoints (`fb_Attention.fg_to_q.weight`, `scale_weights`, `prompt_learner.ctx_pos`, ...). `config`
is an `FBCLIPConfig`, or anything with its fields: only the method's constants are read from it.

Shapes: B images, h × w patches, l = h·w, N = 1 + l tokens (CLS first), D vision width, C text width, T text
positions, P projection width, L feature layers.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

VIEWS = ("ID", "SEM", "SPA")


def linear(x: Tensor, parameters: dict[str, Tensor], name: str) -> Tensor:
    return F.linear(x, parameters[f"{name}.weight"], parameters.get(f"{name}.bias"))


def layer_norm(x: Tensor, parameters: dict[str, Tensor], name: str, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], parameters[f"{name}.weight"], parameters[f"{name}.bias"], eps)


def prompt_embeds(clip: Any, parameters: dict[str, Tensor], prompt_input_ids: Tensor) -> Tensor:
    """The words' embeddings with the learnable vectors in place of the placeholders: (2, T, C)."""
    words = clip.text_model.embeddings.token_embedding.weight[prompt_input_ids]
    prompts = []
    for state, name in enumerate(("prompt_learner.ctx_pos", "prompt_learner.ctx_neg")):
        context = parameters[name].flatten(0, -2)  # (prompt_length, C)
        start, rest = words[state, :1], words[state, 1 + len(context) :]
        prompts.append(torch.cat([start, context, rest]))
    return torch.stack(prompts)


def text_features(clip: Any, parameters: dict[str, Tensor], prompt_input_ids: Tensor, config: Any) -> Tensor:
    """Unit-length features of the normal and the anomalous prompt: (2, P)."""
    x = prompt_embeds(clip, parameters, prompt_input_ids)
    x = x + clip.text_model.embeddings.position_embedding.weight[: x.shape[1]]
    for block in clip.text_model.encoder.layers:
        x = block(x, attention_mask=None)
    x = clip.text_model.final_layer_norm(x)  # (2, T, C)

    end_of_text = clip.text_projection(x[torch.arange(2), prompt_input_ids.argmax(dim=1)])
    global_pool = clip.text_projection(x.mean(dim=1))
    relevance = linear(F.relu(linear(x, parameters, "token_selector.0")), parameters, "token_selector.2")
    pooled = (relevance.softmax(dim=1) * x).sum(dim=1)
    hidden = F.relu(linear(pooled, parameters, "text_projection_mlp.0"))
    attention_pool = linear(hidden, parameters, "text_projection_mlp.2")
    fused = global_pool + config.attention_pool_weight * attention_pool + config.end_of_text_weight * end_of_text
    return F.normalize(fused, dim=-1)


def interpolate_position_embedding(position_embedding: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize the patch part of a (1 + side², D) position embedding bilinearly to `grid`: (N, D)."""
    class_position, patch_positions = position_embedding[:1], position_embedding[1:]
    side = math.isqrt(len(patch_positions))
    if (side, side) == tuple(grid):
        return position_embedding
    square = patch_positions.T.reshape(1, -1, side, side)
    resized = F.interpolate(square, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([class_position, resized[0].flatten(1).T])


def vision_tokens(clip: Any, pixel_values: Tensor, feature_layers: list[int]) -> list[Tensor]:
    """The residual stream after each of `feature_layers` (1-based): L tensors (B, N, D)."""
    tower = clip.vision_model
    patches = tower.embeddings.patch_embedding(pixel_values)  # (B, D, h, w)
    class_token = tower.embeddings.class_embedding.expand(len(patches), 1, -1)
    x = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
    positions = interpolate_position_embedding(tower.embeddings.position_embedding.weight, tuple(patches.shape[2:]))
    x = tower.pre_layrnorm(x + positions)
    outputs = []
    for block in tower.encoder.layers:
        x = block(x, attention_mask=None)
        outputs.append(x)
    return [outputs[number - 1] for number in feature_layers]


def min_max(x: Tensor) -> Tensor:
    low, high = x.amin(dim=-1, keepdim=True), x.amax(dim=-1, keepdim=True)
    return (x - low) / (high - low).clamp(min=1e-6)


def box_filter(x: Tensor, side: int) -> Tensor:
    """Mean of `side` neighbours along the last dimension, reflect-padded as often as that takes."""
    length, reach = x.shape[-1], side // 2
    period = max(2 * (length - 1), 1)
    positions = torch.arange(-reach, length + reach, device=x.device) % period
    reflected = torch.minimum(positions, period - positions)
    return x[..., reflected].unfold(-1, side, 1).mean(dim=-1)


def foreground_score(tokens: Tensor, previous_tokens: Tensor | None, config: Any) -> Tensor:
    """How much each patch looks like foreground, before the threshold: (B, l)."""
    cls, x = tokens[:, :1], tokens[:, 1:]
    padded = F.pad(x, (0, 0, 1, 1))  # a zero patch before the first and after the last
    neighbourhood = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
    local_saliency = (x - neighbourhood).norm(dim=-1)
    centre_distance = (x - x.mean(dim=1, keepdim=True)).norm(dim=-1)
    cls_inconsistency = 1 - F.cosine_similarity(x, cls, dim=-1)
    layer_change = torch.zeros_like(centre_distance)
    if previous_tokens is not None:
        layer_change = (x - previous_tokens[:, 1:]).norm(dim=-1)
    score = (
        config.foreground_saliency_weight * min_max(local_saliency)
        + config.foreground_center_weight * min_max(centre_distance)
        + config.foreground_cls_weight * min_max(cls_inconsistency)
        + config.foreground_change_weight * min_max(layer_change)
    )
    return box_filter(score, config.foreground_smoothing_window)


def foreground_mask(tokens: Tensor, previous_tokens: Tensor | None, config: Any) -> Tensor:
    """1 for a foreground patch, 0.5 for a background patch: (B, l)."""
    score = foreground_score(tokens, previous_tokens, config)
    return torch.ones_like(score).masked_fill(score <= config.foreground_threshold, config.background_value)


def semantic_view(tokens: Tensor, foreground: Tensor, config: Any) -> Tensor:
    """Patches mixed with the patches of their own kind all over the image: (B, N, D)."""
    cls, x = tokens[:, :1], tokens[:, 1:]
    background = 1 - foreground
    cosine = F.cosine_similarity(x, cls, dim=-1)
    foreground_logits = (1 - cosine)[:, :, None] * foreground[:, :, None] * foreground[:, None, :]  # (B, l, l)
    background_logits = cosine[:, :, None] * background[:, :, None] * background[:, None, :]
    foreground_mix = foreground_logits.softmax(dim=-1) @ x  # (B, l, l) @ (B, l, D)
    background_mix = background_logits.softmax(dim=-1) @ x
    mixed = foreground[..., None] * foreground_mix + background[..., None] * background_mix
    return torch.cat([cls, config.semantic_mix * mixed + (1 - config.semantic_mix) * x], dim=1)


def windows(x: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """The side × side window around each patch, zeros outside the image: (B, l, D) to (B, l, side², D)."""
    batch_size, length, width = x.shape
    images = x.transpose(1, 2).reshape(batch_size, width, *grid)
    taps = F.unfold(images, kernel_size=side, padding=side // 2)  # (B, D·side², l)
    return taps.reshape(batch_size, width, side * side, length).permute(0, 3, 2, 1).contiguous()


def spatial_view(tokens: Tensor, foreground: Tensor, grid: tuple[int, int], config: Any) -> Tensor:
    """Patches mixed with the foreground and the background of their 5 × 5 neighbourhood: (B, N, D)."""
    cls, x = tokens[:, :1], tokens[:, 1:]
    c = cls[:, None]  # (B, 1, 1, D)
    x = windows(x, grid, config.spatial_window)  # (B, l, 25, D)
    f = windows(foreground[..., None], grid, config.spatial_window)  # (B, l, 25, 1)

    y = f * x
    logits = (1 - F.cosine_similarity(y, c, dim=-1)) * (y - y.mean(dim=2, keepdim=True)).norm(dim=-1)
    foreground_part = (logits.softmax(dim=-1)[..., None] * y).sum(dim=2) / f.sum(dim=2).clamp(min=1e-8)

    z = (1 - f) * x
    logits = F.cosine_similarity(z, c, dim=-1) * z.norm(dim=-1)
    background_part = (logits.softmax(dim=-1)[..., None] * z).sum(dim=2) / (1 - f).sum(dim=2).clamp(min=1e-8)
    return torch.cat([cls, foreground_part + background_part], dim=1)


def self_attention(x: Tensor, parameters: dict[str, Tensor], stream: str, config: Any) -> Tensor:
    """One stream (`fg` or `bg`) attending over its own tokens: (B, N, D)."""
    x = layer_norm(x, parameters, f"fb_Attention.{stream}_norm", config.attention_layer_norm_eps)
    query, key, value = (
        linear(x, parameters, f"fb_Attention.{stream}_to_{part}")
        .unflatten(-1, (config.attention_heads, -1))
        .transpose(1, 2)  # (B, heads, N, head_dim)
        for part in ("q", "k", "v")
    )
    weights = (query @ key.transpose(-1, -2) * parameters[f"fb_Attention.{stream}_scale"]).softmax(dim=-1)
    mixed = (weights @ value).transpose(1, 2).flatten(2)
    return linear(mixed, parameters, f"fb_Attention.{stream}_to_out.0")


def attention(tokens: Tensor, parameters: dict[str, Tensor], config: Any) -> Tensor:
    """The gated foreground and background streams of one token map: (B, N, D)."""
    hidden = F.relu(linear(tokens, parameters, "fb_Attention.gate.0"))
    gate = torch.sigmoid(linear(hidden, parameters, "fb_Attention.gate.2"))  # (B, N, 1)
    foreground = self_attention(gate * tokens, parameters, "fg", config)
    background = self_attention((1 - gate) * tokens, parameters, "bg", config)
    return layer_norm(foreground + background, parameters, "fb_Attention.norm", config.attention_layer_norm_eps)


def background_feature(maps: list[Tensor], config: Any) -> Tensor:
    """Half mean, half maximum over the first half of the tokens of all maps: (B, D)."""
    count = int(config.background_fraction * maps[0].shape[1])
    leading = torch.cat([tokens[:, :count] for tokens in maps], dim=1)
    max_weight = config.background_max_weight
    return (1 - max_weight) * leading.mean(dim=1) + max_weight * leading.amax(dim=1)


def suppress_background(tokens: Tensor, background: Tensor, config: Any) -> Tensor:
    """Move each token away from the background feature: (B, N, D)."""
    b = background[:, None]
    difference = 1 - F.cosine_similarity(tokens, b, dim=-1)
    weight = config.suppression_weight
    return (1 - weight) * tokens + weight * (tokens - b) * difference[..., None]


def scores(
    projected: list[Tensor],
    text_features: Tensor,
    grid: tuple[int, int],
    scale_weights: Tensor,
    config: Any,
) -> tuple[Tensor, Tensor]:
    """Image scores (B,) and anomaly maps (B, h, w) from the 3·L suppressed and projected maps (B, N, P)."""
    weights = scale_weights.softmax(dim=0)
    similarities = [F.normalize(u, dim=-1) @ text_features.T / config.temperature for u in projected]  # (B, N, 2)
    weighted = [weights[index // len(VIEWS)] * similarity for index, similarity in enumerate(similarities)]
    probability = torch.stack(weighted).sum(dim=0).softmax(dim=-1)[..., 1]
    return probability[:, 0], probability[:, 1:].unflatten(1, grid)


def consistency_loss(last_projected: Tensor, text_features: Tensor, config: Any) -> Tensor:
    """Entropy and margin of the images' mean features against the two texts."""
    z = F.normalize(last_projected.mean(dim=1), dim=-1) @ text_features.T / config.temperature
    p = z.softmax(dim=-1)
    entropy = -(p * (p + 1e-8).log()).sum(dim=-1).mean()
    margin = F.relu(config.consistency_margin - (z[:, 1] - z[:, 0]).abs()).mean()
    return config.consistency_weight * (entropy + config.consistency_margin_weight * margin)


def focal_loss(probability: Tensor, target: Tensor, config: Any) -> Tensor:
    cross_entropy = F.binary_cross_entropy(probability, target, reduction="none")
    probability_of_target = torch.where(target == 1, probability, 1 - probability)
    return (cross_entropy * (1 - probability_of_target) ** config.focal_gamma).mean()


def dice_loss(probability: Tensor, target: Tensor, config: Any) -> Tensor:
    overlap = (probability * target).sum(dim=(1, 2))
    total = probability.sum(dim=(1, 2)) + target.sum(dim=(1, 2))
    smoothing = config.dice_smoothing
    return 1 - ((2 * overlap + smoothing) / (total + smoothing)).mean()


def losses(
    image_scores: Tensor,
    anomaly_maps: Tensor,
    consistency: Tensor,
    labels: Tensor,
    masks: Tensor,
    config: Any,
) -> dict[str, Tensor]:
    """The parts of the training loss, each with its factor, and their sum; `masks` are (B, height, width)."""
    maps = F.interpolate(anomaly_maps[:, None], size=masks.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    parts = {
        "image_focal": focal_loss(image_scores, labels.to(image_scores.dtype), config),
        "mask_focal": focal_loss(maps, masks, config),
        "dice": config.dice_weight * dice_loss(maps, masks, config),
        "consistency": consistency,
    }
    return parts | {"loss": torch.stack(list(parts.values())).sum()}


def head_stages(
    layer_tokens: list[Tensor],
    text_features: Tensor,
    grid: tuple[int, int],
    parameters: dict[str, Tensor],
    visual_projection: Tensor,
    config: Any,
) -> dict[str, Tensor]:
    """Every stage after the vision tower by its name; `visual_projection` is CLIP's weight (P, D)."""
    stages: dict[str, Tensor] = {}
    attended = []
    previous_tokens = None
    for index, tokens in enumerate(layer_tokens):
        foreground = foreground_mask(tokens, previous_tokens, config)
        semantic = semantic_view(tokens, foreground, config)
        spatial = spatial_view(tokens, foreground, grid, config)
        stages[f"layer{index}.foreground"] = foreground
        stages[f"layer{index}.semantic"], stages[f"layer{index}.spatial"] = semantic, spatial
        for view, view_tokens in zip(VIEWS, (tokens, semantic, spatial), strict=True):
            attended.append(attention(view_tokens, parameters, config))
            stages[f"layer{index}.{view}.attended"] = attended[-1]
        previous_tokens = tokens

    background = background_feature(attended, config)
    projected = [F.linear(suppress_background(tokens, background, config), visual_projection) for tokens in attended]
    stages["background"], stages["last_view_projected"] = background, projected[-1]
    stages["image_scores"], stages["anomaly_maps"] = scores(
        projected, text_features, grid, parameters["scale_weights"], config
    )
    return stages


def reference_head(
    layer_tokens: list[Tensor],
    text_features: Tensor,
    grid: tuple[int, int],
    parameters: dict[str, Tensor],
    visual_projection: Tensor,
    config: Any,
) -> tuple[Tensor, Tensor]:
    """Image scores (B,) and anomaly maps (B, h, w) from the tokens of the feature layers."""
    stages = head_stages(layer_tokens, text_features, grid, parameters, visual_projection, config)
    return stages["image_scores"], stages["anomaly_maps"]


def nearest_distances(tokens: Tensor, others: Tensor, reach: tuple[int, int], own: bool = False) -> Tensor:
    """
    Half of 1 minus the cosine to the nearest patch of another image (L, h, w, D) within `reach` rows and columns; in
    its own image, outside the 3 × 3 patches around: (L, h, w).
    """
    layers, height, width, _ = tokens.shape
    distances = torch.ones(layers, height, width, dtype=tokens.dtype)
    for layer in range(layers):
        for y in range(height):
            for x in range(width):
                for other_y in range(height):
                    for other_x in range(width):
                        rows, columns = abs(y - other_y), abs(x - other_x)
                        if rows > reach[0] or columns > reach[1] or (own and rows <= 1 and columns <= 1):
                            continue
                        distance = (1 - tokens[layer, y, x] @ others[layer, other_y, other_x]) / 2
                        distances[layer, y, x] = min(distances[layer, y, x], distance)
    return distances
