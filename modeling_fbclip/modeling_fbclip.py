"""FB-CLIP: zero-shot anomaly detection with a frozen CLIP (CVPR 2026, arXiv 2603.19608).

Shapes in comments: B images, h × w patches, N = 1 + h·w tokens (CLS first), D vision width, P projection width,
T text positions, C text width, L feature layers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPModel
from transformers.utils import ModelOutput

from .attention_fbclip import FBCLIPAttention
from .backbone_fbclip import vision_layer_tokens
from .configuration_fbclip import FBCLIPConfig
from .inputs_fbclip import (
    check_images,
    check_outputs,
    check_prompts,
    check_same_prompts,
    check_targets,
    check_text_embeds,
)
from .loss_fbclip import consistency_loss, fbclip_losses
from .pretrained_fbclip import FBCLIPPreTrainedModel
from .references_fbclip import FBCLIPReferences, PlacedReferences
from .scoring_fbclip import Background, background_feature, score_map, split_scores
from .text_fbclip import FBCLIPTextBranch, TextFeaturesCache, embed_prompts
from .vision_fbclip import LayerViews, build_views


@dataclass
class FBCLIPOutput(ModelOutput):
    r"""
    Output of [`FBCLIPModel`].

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, returned when `labels` are given):
            Sum of the four parts below.
        image_focal_loss, mask_focal_loss, dice_loss, consistency_loss (`torch.FloatTensor` of shape `()`, *optional*):
            Parts of the loss, times their weights. Without `mask_labels`, the mask focal and the dice loss are 0.
        image_scores (`torch.FloatTensor` of shape `(batch_size,)`):
            Probability that the image is anomalous.
        anomaly_maps (`torch.FloatTensor` of shape `(batch_size, grid_height, grid_width)`):
            Probability that a patch is anomalous, neither resized nor smoothed.
        logits (`torch.FloatTensor` of shape `(batch_size, 1 + grid_height * grid_width)`, *optional*, returned with
            `references` or when `output_hidden_states=True`):
            Those of image and patches by the texts alone, before the sigmoid.
        reference_scores, reference_maps (as those of the texts, *optional*, returned with `references`):
            Probabilities by the distances to the references alone. `image_scores` and `anomaly_maps` are then the
            joint ones.
        text_embeds (`torch.FloatTensor` of shape `(2, projection_dim)`):
            Text features of the normal and the anomalous state, unit length.
        hidden_states (`tuple[torch.FloatTensor]`, *optional*, returned when `output_hidden_states=True`):
            CLIP's tokens after each feature layer, of shape `(batch_size, 1 + num_patches, hidden_size)`.
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
    logits: Tensor | None = None
    reference_scores: Tensor | None = None
    reference_maps: Tensor | None = None
    text_embeds: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    stages: dict[str, Tensor] | None = None


class FBCLIPModel(FBCLIPPreTrainedModel):
    r"""
    A frozen CLIP with the trainable FB-CLIP parts. Only these have `requires_grad`.

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
        self.register_buffer("prompt_input_ids", torch.tensor(config.prompt_input_ids), persistent=False)
        self._text_features = TextFeaturesCache(self.text_branch, self.clip)
        self.gradient_checkpointing = False
        self.post_init()
        self.clip.requires_grad_(False)

    def get_input_embeddings(self) -> nn.Module:
        """CLIP's patch embedding."""
        return self.clip.vision_model.embeddings.patch_embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.clip.vision_model.embeddings.patch_embedding = value  # type: ignore[assignment]

    def get_text_features(self, prompt_input_ids: Tensor | None = None) -> Tensor:
        r"""
        The text features. They depend on the weights and the prompts only. On a CPU, in evaluation mode without
        gradients, they are kept until one of these changes; elsewhere, pass them to `forward` to compute them once.

        Args:
            prompt_input_ids (`torch.LongTensor` of shape `(2, context_length)`, *optional*): As for `forward`.

        Returns:
            `torch.FloatTensor` of shape `(2, projection_dim)`: of the normal and the anomalous state, unit length.

        Raises:
            `ValueError`: the ids have the wrong shape or are out of range.
        """
        return self._text_features(self.text_branch, self.clip, self._prompts(prompt_input_ids))

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        mask_labels: Tensor | None = None,
        prompt_input_ids: Tensor | None = None,
        output_stages: bool = False,
        layer_tokens: list[Tensor] | None = None,
        grid: tuple[int, int] | None = None,
        text_embeds: Tensor | None = None,
        references: FBCLIPReferences | PlacedReferences | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> FBCLIPOutput | tuple[Any, ...]:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`, *optional*):
                Images normalised by the processor. Height and width are multiples of CLIP's patch size.
            labels (`torch.Tensor` of shape `(batch_size,)`, *optional*):
                0 for normal, 1 for anomalous. With labels, the loss is computed.
            mask_labels (`torch.Tensor` of shape `(batch_size, height, width)`, also with a channel, *optional*):
                0 for normal pixels, 1 for anomalous ones, -100 for unknown ones, such as all pixels of an image
                without a mask. Unknown pixels are left out of the mask losses.
            prompt_input_ids (`torch.LongTensor` of shape `(2, context_length)`, *optional*):
                Token ids of the normal and the anomalous prompt, from `FBCLIPProcessor.encode_prompts`. Defaults to
                those of the configuration.
            output_stages (`bool`, defaults to `False`):
                Whether to return the intermediate tensors.
            layer_tokens (`list[torch.Tensor]`, *optional*):
                Replaces `pixel_values`: the result of `vision_layer_tokens`, one tensor of shape
                `(batch_size, 1 + num_patches, hidden_size)` for each feature layer.
            grid (`tuple[int, int]`, *optional*):
                Grid height and width of `layer_tokens` in patches. Defaults to the grid of the configuration's
                `image_size`.
            text_embeds (`torch.FloatTensor` of shape `(2, projection_dim)`, *optional*):
                Replaces `prompt_input_ids`: the result of `get_text_features`.
            references ([`FBCLIPReferences`] or [`PlacedReferences`], *optional*):
                Images that these are compared with, beside the texts; of tiles, `references.at(places)`.
            output_hidden_states (`bool`, *optional*):
                Whether to return the feature layers' tokens. Defaults to that of the configuration.
            output_attentions (`bool`, *optional*):
                Not supported: attention is computed on views of shared projections, three times a layer.
            return_dict (`bool`, *optional*):
                `False` for a plain tuple. Defaults to that of the configuration.

        Returns:
            [`FBCLIPOutput`] or `tuple`

        Raises:
            `ValueError`: an argument has the wrong shape; the message has the shape and the right one. Or the
                references were made with another model.
        """
        if mask_labels is not None and mask_labels.ndim == 4 and mask_labels.shape[1] == 1:
            mask_labels = mask_labels.squeeze(1)
        config = self.config
        check_outputs(config, output_attentions)
        batch_size, grid = check_images(config, pixel_values, layer_tokens, grid)
        check_targets(batch_size, labels, mask_labels)
        check_text_embeds(config, text_embeds, prompt_input_ids)
        with_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states

        # 1. Text features, (2, P).
        if text_embeds is None:
            text_embeds = self.get_text_features(prompt_input_ids)

        # 2. Vision tokens, L × (B, N, D). 3. to 5. Views, attention, scores.
        results, hidden_states = [], []
        for tokens in self._vision_tokens(pixel_values, layer_tokens):
            results.append(self._examine(tokens, grid, text_embeds, output_stages))
            if with_hidden_states or references is not None:
                hidden_states.append(tokens)
        found = {name: torch.cat([result[name] for result in results]) for name in results[0]}
        layers = tuple(map(torch.cat, zip(*hidden_states, strict=True)))

        image_scores, anomaly_maps, logits = (found.pop(name) for name in ("image_scores", "anomaly_maps", "logits"))
        by_references: dict[str, Tensor] = {}
        if references is not None:
            references.check(self)
            check_same_prompts(prompt_input_ids, self.prompt_input_ids)
            image_scores, anomaly_maps, *alone = references.judge(layers, logits, grid)
            by_references = dict(zip(("reference_scores", "reference_maps"), alone, strict=True))
        embeds = found.pop("pooled_embeds")
        losses: dict[str, Any] = {}
        if labels is not None:
            losses = fbclip_losses(image_scores, anomaly_maps, embeds, text_embeds, labels, mask_labels, config)
        output = FBCLIPOutput(
            **losses,
            **by_references,
            image_scores=image_scores,
            anomaly_maps=anomaly_maps,
            logits=logits if with_hidden_states or references is not None else None,
            text_embeds=text_embeds,
            hidden_states=layers if with_hidden_states else None,
            stages=found | self._other_stages(text_embeds, prompt_input_ids, embeds) if output_stages else None,
        )
        as_tuple = not (config.return_dict if return_dict is None else return_dict)
        return output.to_tuple() if as_tuple else output

    def _prompts(self, prompt_input_ids: Tensor | None) -> Tensor:
        if prompt_input_ids is None:
            return self.prompt_input_ids
        check_prompts(self.config, prompt_input_ids)
        return prompt_input_ids

    def _vision_tokens(self, pixel_values: Tensor | None, layer_tokens: list[Tensor] | None) -> Iterator[list[Tensor]]:
        """The feature layers' tokens: of one image after the other where that is faster, else of all at once."""
        if pixel_values is not None:
            layers = list(self.config.feature_layers)
            for images in _parts(pixel_values):
                yield vision_layer_tokens(self.clip.vision_model, images, layers)
        else:
            given = [tokens.to(self.dtype) for tokens in layer_tokens or []]
            yield from map(list, zip(*map(_parts, given), strict=True))

    def _examine(
        self, layer_tokens: list[Tensor], grid: tuple[int, int], text_embeds: Tensor, with_stages: bool
    ) -> dict[str, Tensor]:
        """Scores, maps, `logits` `(B, N)`, `pooled_embeds` `(B, P)`, and the stages of images, from their tokens."""
        # 3. Three views of each layer's tokens: identity, semantic, spatial.
        views = build_views(layer_tokens, grid, self.config)

        # 4. Attention on each view, L·3 × (1, B, N, D), or as one (L·3, B, N, D), and the image's background, (B, D).
        attended = self._attend(layer_tokens, views)
        background = background_feature(attended, self.config.background_fraction, self.config.background_max_weight)

        # 5. Scores: suppress the background, compare with the texts, sum over all views.
        logits, last_embeds = self._score(attended, background, text_embeds)
        image_scores, anomaly_maps = split_scores(logits, grid)
        stages = _image_stages(layer_tokens, views, attended, background, last_embeds) if with_stages else {}
        outputs = {"image_scores": image_scores, "anomaly_maps": anomaly_maps, "logits": logits}
        return outputs | {"pooled_embeds": last_embeds.mean(dim=1)} | stages

    def _attend(self, layer_tokens: list[Tensor], views: list[LayerViews]) -> list[Tensor]:
        """The attended maps, layer by layer. Within a layer they have the order of its views."""
        attended = []
        for tokens, layer in zip(layer_tokens, views, strict=True):
            projections, *constants = self.attention.project(tokens)  # shared by the layer's views
            if torch.compiler.is_compiling():  # all views of a layer as one batch, for a graph of a third of the size
                mixed = torch.cat([view(projections) for view in layer.views.values()])
                maps = self._checkpoint(self.attention, mixed, *constants)
                attended.append(maps.unflatten(0, (len(layer.views), -1)))
                continue
            for view in layer.views.values():
                maps = self._checkpoint(self._attend_view, view.mix, projections, *constants, *view.weights)
                attended.append(maps.unsqueeze(0))
        return [torch.cat(attended)] if torch.compiler.is_compiling() else attended  # the graph scores all at once

    def _attend_view(
        self,
        mix: Callable[..., Tensor],
        projections: Tensor,
        qkv_bias: Tensor,
        qkv_factors: Tensor,
        gate_bias: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        """Every tensor is an argument, since reentrant checkpointing follows no others."""
        return self.attention(mix(projections, *weights), qkv_bias, qkv_factors, gate_bias)

    def _score(self, attended: list[Tensor], background: Tensor, text_embeds: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of "anomalous", `(B, N)`, and the projected tokens of the last map, `(B, N, P)`."""
        config, projection = self.config, self.clip.visual_projection
        projected_background = Background.of(background, projection)
        maps_a_layer = sum(map(len, attended)) // len(config.feature_layers)
        map_weights = self.scale_weights.softmax(dim=0).repeat_interleave(maps_a_layer)
        logits, first = torch.zeros((), device=background.device), 0
        for maps in attended:
            map_logits, embeds = self._checkpoint(
                score_map, maps, text_embeds, projection, config, *projected_background
            )
            weights = map_weights[first : first + len(maps)]
            logits = logits + (weights[:, None, None] * map_logits).sum(dim=0)
            first += len(maps)
        return logits, embeds[-1]

    def _other_stages(
        self, text_embeds: Tensor, prompt_input_ids: Tensor | None, pooled_embeds: Tensor
    ) -> dict[str, Tensor]:
        return {
            "text_features": text_embeds,
            "prompt_embeds": embed_prompts(self.text_branch, self.clip, self._prompts(prompt_input_ids)),
            "consistency_loss": consistency_loss(pooled_embeds, text_embeds, self.config),
        }

    def _checkpoint(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's value. With gradient checkpointing, the backward pass computes it again."""
        if self.gradient_checkpointing and self.training:
            return self._gradient_checkpointing_func(function, *arguments)
        return function(*arguments)


def _parts(batch: Tensor) -> tuple[Tensor, ...]:
    """A CPU is faster with one image at a time. Other devices, and a graph for every batch, take all at once."""
    one_by_one = batch.device.type == "cpu" and not torch.compiler.is_compiling()
    return batch.split(1) if one_by_one else (batch,)


def _image_stages(
    layer_tokens: list[Tensor],
    views: list[LayerViews],
    attended: list[Tensor],
    background: Tensor,
    last_embeds: Tensor,
) -> dict[str, Tensor]:
    stages = {"background": background, "last_view_projected": last_embeds}
    maps = iter(torch.cat(attended))
    for index, (tokens, layer) in enumerate(zip(layer_tokens, views, strict=True)):
        stages[f"layer{index}.tokens"] = tokens
        stages[f"layer{index}.foreground"] = layer.foreground
        stages[f"layer{index}.semantic"] = layer.views["SEM"](tokens)
        stages[f"layer{index}.spatial"] = layer.views["SPA"](tokens)
        stages |= {f"layer{index}.{name}.attended": next(maps) for name in layer.views}
    return stages
