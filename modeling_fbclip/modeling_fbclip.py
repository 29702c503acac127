"""FB-CLIP: zero-shot anomaly detection with a frozen CLIP (CVPR 2026, arXiv 2603.19608).

Shapes in comments: B images, h × w patches, N = 1 + h·w tokens (CLS first), D vision width, P projection width,
T text positions, C text width, L feature layers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPModel
from transformers.utils import ModelOutput

from .attention_fbclip import FBCLIPAttention, FoldedWeights
from .backbone_fbclip import vision_layer_tokens
from .configuration_fbclip import FBCLIPConfig
from .inputs_fbclip import check_images, check_targets
from .loss_fbclip import consistency_loss, fbclip_losses
from .pretrained_fbclip import FBCLIPPreTrainedModel
from .scoring_fbclip import anomaly_logits, background_feature, split_scores, suppress_and_project
from .text_fbclip import FBCLIPTextBranch, TextEmbedsCache
from .vision_fbclip import IdentityView, SemanticView, SpatialView, foreground_mask


@dataclass
class FBCLIPOutput(ModelOutput):
    r"""
    Output of [`FBCLIPModel`].

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, returned when `labels` are given):
            Sum of the four parts below.
        image_focal_loss, mask_focal_loss, dice_loss, consistency_loss (`torch.FloatTensor` of shape `()`, *optional*):
            Parts of the loss, weights included. The two of the masks are 0 without `mask_labels`.
        image_scores (`torch.FloatTensor` of shape `(batch_size,)`):
            Probability that the image is anomalous.
        anomaly_maps (`torch.FloatTensor` of shape `(batch_size, grid_height, grid_width)`):
            Probability that a patch is anomalous, neither resized nor smoothed.
        text_embeds (`torch.FloatTensor` of shape `(2, projection_dim)`):
            Text features of the normal and the anomalous state, unit length.
        stages (`dict[str, torch.Tensor]`, *optional*, returned when `output_stages=True`):
            Intermediate tensors by name: `prompt_embeds`, `text_features`, `layer{i}.tokens`, `layer{i}.foreground`,
            `layer{i}.semantic`, `layer{i}.spatial`, `layer{i}.{ID,SEM,SPA}.attended`, `background`,
            `last_view_projected`, `consistency_loss`.
    """

    loss: Tensor | None = None
    image_focal_loss: Tensor | None = None
    mask_focal_loss: Tensor | None = None
    dice_loss: Tensor | None = None
    consistency_loss: Tensor | None = None
    image_scores: Tensor | None = None
    anomaly_maps: Tensor | None = None
    text_embeds: Tensor | None = None
    stages: dict[str, Tensor] | None = None


class FBCLIPModel(FBCLIPPreTrainedModel):
    r"""
    A frozen CLIP with the trainable FB-CLIP parts around it. `requires_grad` is on for the latter only.

    Args:
        config ([`FBCLIPConfig`]): the configuration.

    Example:

    ```python
    >>> from modeling_fbclip import load_bundled

    >>> model, processor = load_bundled()
    >>> inputs = processor(images="photo.jpg")
    >>> outputs = model(**inputs)
    >>> result = processor.post_process_anomaly_detection(outputs)[0]
    >>> result["score"], result["anomaly_map"].shape
    ```"""

    _auto_class: Any = "AutoModel"

    def __init__(self, config: FBCLIPConfig) -> None:
        super().__init__(config)
        config.validate()
        self.clip = CLIPModel(config.clip_config)  # type: ignore[arg-type]
        self.text_branch = FBCLIPTextBranch(config)
        self.attention = FBCLIPAttention(config)
        self.scale_weights = nn.Parameter(torch.empty(config.num_scale_weights))
        self._text_embeds_cache = TextEmbedsCache()
        self.gradient_checkpointing = False
        self.post_init()
        self.clip.requires_grad_(False)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        mask_labels: Tensor | None = None,
        prompt_input_ids: Tensor | None = None,
        output_stages: bool = False,
        layer_tokens: list[Tensor] | None = None,
        grid: tuple[int, int] | None = None,
    ) -> FBCLIPOutput:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`, *optional*):
                Images normalised by the processor; height and width are multiples of CLIP's patch size. Needed
                without `layer_tokens`.
            labels (`torch.Tensor` of shape `(batch_size,)`, *optional*):
                0 for normal, 1 for anomalous. Given, the loss is computed.
            mask_labels (`torch.Tensor` of shape `(batch_size, height, width)`, also with a channel, *optional*):
                0 for normal pixels, 1 for anomalous ones, -100 for those that are not known: all of an image without
                a mask. These are left out of the two mask losses, which are 0 without `mask_labels`.
            prompt_input_ids (`torch.LongTensor` of shape `(2, context_length)`, *optional*):
                Token ids of the normal and the anomalous prompt instead of the configuration's; see
                `FBCLIPProcessor.encode_prompts`.
            output_stages (`bool`, defaults to `False`):
                Whether to return the intermediate tensors.
            layer_tokens (`list[torch.Tensor]`, *optional*):
                In place of `pixel_values`, what `vision_layer_tokens` made of them: one tensor of shape `(batch_size,
                1 + num_patches, hidden_size)` for each feature layer.
            grid (`tuple[int, int]`, *optional*):
                Grid height and width in patches of `layer_tokens`. Defaults to those of the configuration's
                `image_size`.

        Returns:
            [`FBCLIPOutput`]

        Raises:
            `ValueError`: an argument has the wrong shape; the message has the shape and the right one.
        """
        if mask_labels is not None and mask_labels.ndim == 4 and mask_labels.shape[1] == 1:
            mask_labels = mask_labels.squeeze(1)
        batch_size, grid = check_images(self.config, pixel_values, layer_tokens, grid)
        check_targets(self.config, batch_size, labels, mask_labels, prompt_input_ids)

        # 1. Text features, (2, P): they depend on weights only.
        if prompt_input_ids is None:
            prompt_input_ids = torch.tensor(self.config.prompt_input_ids, device=self.scale_weights.device)
        text_embeds = self._text_embeds_cache(self.text_branch, self.clip, prompt_input_ids)

        # 2. Vision tokens, L × (B, N, D), of the images that are computed together.
        if pixel_values is not None:
            chunks = self._vision_chunks(pixel_values)
        else:
            layer_tokens = [tokens.to(self.scale_weights.dtype) for tokens in layer_tokens or []]
            chunks = in_chunks(layer_tokens)

        # 3. Views, 4. attention and suppression, 5. scores.
        logits, pooled_embeds, stages = self.score_tokens(chunks, text_embeds, grid, output_stages)
        image_scores, anomaly_maps = split_scores(logits, grid)
        losses = None
        if labels is not None:
            losses = fbclip_losses(
                image_scores, anomaly_maps, pooled_embeds, text_embeds, labels, mask_labels, self.config
            )
        if output_stages:
            stages["text_features"] = text_embeds
            stages["prompt_embeds"] = self.text_branch.embed_prompts(self.clip, prompt_input_ids)
            stages["consistency_loss"] = consistency_loss(pooled_embeds, text_embeds, self.config)
        return FBCLIPOutput(
            loss=losses.total if losses else None,
            image_focal_loss=losses.image_focal if losses else None,
            mask_focal_loss=losses.mask_focal if losses else None,
            dice_loss=losses.dice if losses else None,
            consistency_loss=losses.consistency if losses else None,
            image_scores=image_scores,
            anomaly_maps=anomaly_maps,
            text_embeds=text_embeds,
            stages=stages if output_stages else None,
        )

    def _vision_chunks(self, pixel_values: Tensor) -> Iterator[list[Tensor]]:
        layers = list(self.config.feature_layers)
        for images in pixel_values.split(images_at_once(pixel_values)):
            yield vision_layer_tokens(self.clip.vision_model, images, layers)

    def score_tokens(
        self, chunks: Iterable[list[Tensor]], text_embeds: Tensor, grid: tuple[int, int], output_stages: bool = False
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        r"""
        All that follows the two towers.

        Args:
            chunks (`Iterable[list[torch.Tensor]]`): for images that are computed together, their tokens of shape
                `(num_images, 1 + num_patches, hidden_size)`, one tensor a layer. See [`in_chunks`].
            text_embeds (`torch.Tensor` of shape `(2, projection_dim)`): the text features.
            grid (`tuple[int, int]`): grid height and width in patches.
            output_stages (`bool`, defaults to `False`): Whether to return the intermediate tensors.

        Returns:
            `tuple`: logits of "anomalous" of shape `(batch_size, 1 + num_patches)`, CLS first; mean embeddings of the
            last map of shape `(batch_size, projection_dim)`; intermediate tensors by name.
        """
        folded = self.attention.fold()
        parts = [self._score_chunk(tokens, text_embeds, grid, folded, output_stages) for tokens in chunks]
        logits, pooled_embeds, stages = zip(*parts, strict=True)
        merged_stages = {name: torch.cat([part[name] for part in stages]) for name in stages[0]}
        return torch.cat(logits), torch.cat(pooled_embeds), merged_stages

    def _score_chunk(
        self,
        layer_tokens: list[Tensor],
        text_embeds: Tensor,
        grid: tuple[int, int],
        folded: FoldedWeights,
        output_stages: bool,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Arguments and result of `score_tokens`, for images that are computed together."""
        config = self.config
        stages: dict[str, Tensor] = {}
        attended = []  # 3·L × (B, N, D), layer-major
        previous_tokens = None
        for index, tokens in enumerate(layer_tokens):
            # 3. Views: identity, semantic, spatial.
            foreground = foreground_mask(tokens, previous_tokens, config)
            views: dict[str, Callable[[Tensor], Tensor]] = {
                "ID": IdentityView(),
                "SEM": SemanticView.build(tokens, foreground, config),
                "SPA": SpatialView.build(tokens, foreground, grid, config),
            }
            previous_tokens = tokens

            # 4. Attention, on projections shared by the layer's views.
            projections = self.attention.project(tokens, folded)
            for name, view in views.items():
                attended.append(self._run(partial(self._attend, view, folded), projections))
                if output_stages:
                    stages[f"layer{index}.{name}.attended"] = attended[-1]
            if output_stages:
                stages[f"layer{index}.tokens"] = tokens
                stages[f"layer{index}.foreground"] = foreground
                stages[f"layer{index}.semantic"] = views["SEM"](tokens)
                stages[f"layer{index}.spatial"] = views["SPA"](tokens)

        # 4. Background suppression and 5. scores.
        projection = self.clip.visual_projection.weight
        background = background_feature(attended, config.background_fraction, config.background_max_weight)
        background_projected = background @ projection.T
        layer_weights = self.scale_weights.softmax(dim=0)
        logits = torch.zeros((), device=projection.device)

        def score(tokens: Tensor) -> tuple[Tensor, Tensor]:
            embeds = suppress_and_project(
                tokens, background, background_projected, projection, config.suppression_weight
            )
            return anomaly_logits(embeds, text_embeds, config.temperature), embeds

        for index, tokens in enumerate(attended):
            map_logits, image_embeds = self._run(score, tokens)
            logits = logits + layer_weights[index // 3] * map_logits
        if output_stages:
            stages["background"], stages["last_view_projected"] = background, image_embeds
        return logits, image_embeds.mean(dim=1), stages

    def _attend(self, view: Callable[[Tensor], Tensor], folded: FoldedWeights, projections: Tensor) -> Tensor:
        return self.attention(view(projections), folded)

    def _run(self, function: Callable[[Tensor], Any], tensor: Tensor) -> Any:
        """The function's value. With activation checkpointing, the backward pass computes it a second time."""
        if self.gradient_checkpointing and self.training:
            return self._gradient_checkpointing_func(function, tensor)
        return function(tensor)


def images_at_once(batch: Tensor) -> int:
    """One on a CPU, where that is fastest and smallest for tower and head alike; all of the batch elsewhere."""
    return 1 if batch.device.type == "cpu" else len(batch)


def in_chunks(layer_tokens: list[Tensor]) -> Iterator[list[Tensor]]:
    """Tokens of shape `(batch_size, 1 + num_patches, hidden_size)`, a layer each, by images computed together."""
    return map(list, zip(*(tokens.split(images_at_once(tokens)) for tokens in layer_tokens), strict=True))
