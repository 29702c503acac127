"""Configuration of FB-CLIP: every number of the method, named, with the paper's default."""

import copy
import math
from os import PathLike
from typing import Any

from huggingface_hub.dataclasses import as_validated_field, strict
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.utils.type_validators import interval

Number = float | int
# Fields that check their range whenever they are set. They refuse NaN and infinity.
count_field = interval(min=1)
weight_field = interval(min=0, exclude_max=True)
positive_field = interval(min=0, exclude_min=True, exclude_max=True)
share_field = interval(min=0, max=1)

# openai/clip-vit-large-patch14-336, the backbone of the paper.
CLIP_VIT_LARGE_336 = {
    "projection_dim": 768,
    "text_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "projection_dim": 768,
    },
    "vision_config": {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
    },
}

# Ids in CLIP's vocabulary. The released weights were trained with prompts padded with 0 ("!"), where CLIP's tokenizer
# pads with the end token. The padding matters: attention and two of the readings use it.
START_ID, PLACEHOLDER_ID, PADDING_ID = 49406, 343, 0
OBJECT_WITHOUT_DEFECT_IDS = (14115, 2193, 44013, 269, 49407)  # "object without defect." and the end token
OBJECT_WITH_DEFECT_IDS = (14115, 593, 44013, 269, 49407)  # "object with defect."


@as_validated_field
def finite_field(value: Number) -> None:
    if not math.isfinite(value):
        raise ValueError(f"Value must be finite, got {value}.")


@as_validated_field
def window_field(value: int) -> None:
    if value < 1 or value % 2 == 0:
        raise ValueError(f"Value must be odd and at least 1, got {value}.")


@strict
class FBCLIPConfig(PreTrainedConfig):
    r"""
    Configuration of an [`FBCLIPModel`]. The defaults are those of the released code of *FB-CLIP: Fine-Grained
    Zero-Shot Anomaly Detection with Foreground-Background Disentanglement* (CVPR 2026, arXiv 2603.19608).

    Args:
        clip_config (`CLIPConfig` or `dict`, *optional*, defaults to CLIP ViT-L/14 at 336 pixels): The frozen CLIP.
        clip_name_or_path (`str`, *optional*): Hub id or folder of the CLIP, which a checkpoint without CLIP fetches.
        clip_revision (`str`, *optional*): Branch, tag or commit of `clip_name_or_path`.
        includes_clip (`bool`, defaults to `True`):
            Whether the checkpoint has CLIP's weights. Set by `save_pretrained`.
        image_size (`int`, defaults to 518): Height and width in pixels that the processor resizes images to.
        feature_layers (`list[int]`, defaults to `[1, 6, 12, 18, 24]`):
            Vision blocks whose outputs are used, counted from 1, ascending.
        prompt_length (`int`, defaults to 12): Number of learnable vectors at the start of each of the two prompts.
        prompt_input_ids (`list[list[int]]` of shape `(2, max_position_embeddings)`, *optional*):
            Token ids of the normal and the anomalous prompt: start, `prompt_length` placeholders, words, end, zeros.
            Defaults to "object without defect." and "object with defect." in CLIP's vocabulary.
        prompt_init_std (`float`, defaults to 0.02): Standard deviation of the fresh prompt vectors.
        attention_pool_weight, end_of_text_weight (`float`, default to 0.5):
            Weights of the attention pool and the end-of-text state. The global mean of the text states has weight 1.
        token_selector_reduction (`int`, defaults to 2): Text width divided by the hidden width of the token selector.
        foreground_saliency_weight, foreground_center_weight, foreground_cls_weight, foreground_change_weight (`float`,
            default to 0.3, 0.3, 0.3, 0.1): Shares of local saliency, distance to the image's mean patch, inconsistency
            with the CLS token and change since the previous feature layer in the foreground score.
        foreground_smoothing_window (`int`, defaults to 5):
            Odd length of the box filter over the flattened foreground scores.
        foreground_threshold (`float`, defaults to 0.5): Patches that score above it are foreground.
        background_value (`float` in `(0, 1)`, defaults to 0.5):
            Value of the foreground mask where a patch is background; foreground is 1.
        semantic_mix (`float` in `[0, 1]`, defaults to 0.6):
            Share of the aggregated tokens in the semantic view; the rest is the token itself.
        spatial_window (`int`, defaults to 5): Odd side, in patches, of the window of the spatial view.
        attention_heads, attention_head_dim (`int`, default to 8 and 64):
            Heads of each stream of the foreground-background attention, and their width.
        attention_layer_norm_eps (`float`, defaults to 1e-5): Epsilon of the attention's three layer norms.
        gate_reduction (`int`, defaults to 2):
            Vision width divided by the hidden width of the foreground-background gate.
        background_fraction (`float` in `(0, 1]`, defaults to 0.5):
            Share of the tokens, from the first on, that make the background feature.
        background_max_weight (`float` in `[0, 1]`, defaults to 0.5):
            Share of the maximum in the background feature; the rest is the mean.
        suppression_weight (`float` in `[0, 1]`, defaults to 0.5):
            Share of the background-suppressed token; the rest is the token itself. 0 switches suppression off.
        num_scale_weights (`int`, defaults to 6):
            Learnable weights in the softmax over layers. The first `len(feature_layers)` of them are used.
        temperature (`float`, defaults to 0.07):
            Divisor of cosine similarities in the scores and in the consistency loss.
        consistency_weight, consistency_margin, consistency_margin_weight (`float`, default to 0.15, 1.0, 0.5):
            Weight of the semantic consistency loss, and the margin and weight of its second term.
        focal_gamma (`float`, defaults to 4.0): Exponent of the focal losses.
        dice_weight (`float`, defaults to 0.2): Weight of the dice loss.
        dice_smoothing (`float`, defaults to 1.0): Term added to numerator and denominator of the dice loss.
        smoothing_sigma (`float`, defaults to 4.0):
            Standard deviation, in pixels at `image_size`, of the Gaussian that smooths maps at evaluation.
        training (`dict`, *optional*): The settings that suit the fine-tuning of this model, by their names in
            `FBCLIPTrainingArguments`, beside the weights of the losses above. Defaults to the published ones.
        runtime (`str`, *optional*): Of an exported model, what computes it in place of PyTorch: `"onnx"` or
            `"openvino"`.
        precision (`str`, *optional*): Of an exported model, how its weights are stored: `"float32"`, `"float16"` or
            `"int8"`.
        exported_from (`str`, *optional*): Of an exported model, the digest of the weights that it was exported from.

    Example:

    ```python
    >>> from modeling_fbclip import FBCLIPConfig, FBCLIPModel

    >>> config = FBCLIPConfig()  # CLIP ViT-L/14 at 336 pixels, images at 518
    >>> config.feature_layers
    [1, 6, 12, 18, 24]
    ```"""

    model_type = "fbclip"
    _auto_class = "AutoConfig"  # a saved folder names its class, for `trust_remote_code=True`
    keys_to_ignore_at_inference = [  # noqa: RUF012 - transformers' own form
        "image_focal_loss",
        "mask_focal_loss",
        "dice_loss",
        "consistency_loss",
        "text_embeds",
        "stages",
    ]
    sub_configs_defaults = {  # noqa: RUF012 - transformers' own form
        "clip_config": SubConfigSpec(config_class=CLIPConfig, init_kwargs=CLIP_VIT_LARGE_336)
    }

    clip_config: dict | CLIPConfig | None = None
    clip_name_or_path: str | None = None
    clip_revision: str | None = None
    includes_clip: bool = True

    image_size: int = count_field(default=518)
    feature_layers: list[int] | tuple[int, ...] = (1, 6, 12, 18, 24)

    prompt_length: int = count_field(default=12)
    prompt_input_ids: list[list[int]] | None = None
    prompt_init_std: Number = weight_field(default=0.02)
    attention_pool_weight: Number = weight_field(default=0.5)
    end_of_text_weight: Number = weight_field(default=0.5)
    token_selector_reduction: int = count_field(default=2)

    foreground_saliency_weight: Number = weight_field(default=0.3)
    foreground_center_weight: Number = weight_field(default=0.3)
    foreground_cls_weight: Number = weight_field(default=0.3)
    foreground_change_weight: Number = weight_field(default=0.1)
    foreground_smoothing_window: int = window_field(default=5)
    foreground_threshold: Number = finite_field(default=0.5)
    background_value: Number = interval(min=0, max=1, exclude_min=True, exclude_max=True)(default=0.5)

    semantic_mix: Number = share_field(default=0.6)
    spatial_window: int = window_field(default=5)

    attention_heads: int = count_field(default=8)
    attention_head_dim: int = count_field(default=64)
    attention_layer_norm_eps: Number = positive_field(default=1e-5)
    gate_reduction: int = count_field(default=2)

    background_fraction: Number = interval(min=0, max=1, exclude_min=True)(default=0.5)
    background_max_weight: Number = share_field(default=0.5)
    suppression_weight: Number = share_field(default=0.5)

    num_scale_weights: int = count_field(default=6)
    temperature: Number = positive_field(default=0.07)

    consistency_weight: Number = weight_field(default=0.15)
    consistency_margin: Number = weight_field(default=1.0)
    consistency_margin_weight: Number = weight_field(default=0.5)
    focal_gamma: Number = weight_field(default=4.0)
    dice_weight: Number = weight_field(default=0.2)
    dice_smoothing: Number = weight_field(default=1.0)

    smoothing_sigma: Number = weight_field(default=4.0)
    training: dict[str, Any] | None = None
    runtime: str | None = None
    precision: str | None = None
    exported_from: str | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if not __name__.startswith("transformers_modules"):
            kwargs.pop("custom_pipelines", None)  # the installed package has the pipeline
        self.clip_config = copy.deepcopy(self.clip_config)  # the caller's stays as it is
        super().__post_init__(**kwargs)
        for part in (self.clip_config, self.clip_text, self.clip_vision):
            part.dtype = None  # type: ignore[union-attr] # the towers take the model's number type
        self.feature_layers = list(self.feature_layers)
        if self.prompt_input_ids is None:
            self.prompt_input_ids = self._paper_prompts()

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As [`PreTrainedConfig.get_config_dict`]. ValueError if it is another model's configuration."""
        found, unused = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        kind = found.get("model_type")
        if kind != cls.model_type:
            advice = "`FBCLIPModel.from_clip` makes an FB-CLIP of it" if kind == "clip" else "give an FB-CLIP's"
            place = pretrained_model_name_or_path
            raise ValueError(f"{place} holds a {kind!r} model, not an FB-CLIP; {advice}.")
        return found, unused

    @property
    def clip_vision(self) -> CLIPVisionConfig:
        """Configuration of CLIP's vision tower."""
        return self.clip_config.vision_config  # type: ignore[union-attr,return-value]

    @property
    def clip_text(self) -> CLIPTextConfig:
        """Configuration of CLIP's text tower."""
        return self.clip_config.text_config  # type: ignore[union-attr,return-value]

    @property
    def patch_size(self) -> int:
        """Side of CLIP's patches in pixels."""
        return self.clip_vision.patch_size  # type: ignore[return-value]

    @property
    def projection_dim(self) -> int:
        """Width of CLIP's joint space."""
        return self.clip_config.projection_dim  # type: ignore[union-attr,return-value]

    def _paper_prompts(self) -> list[list[int]]:
        context = self.clip_text.max_position_embeddings
        prompts = []
        for words in (OBJECT_WITHOUT_DEFECT_IDS, OBJECT_WITH_DEFECT_IDS):
            ids = [START_ID, *[PLACEHOLDER_ID] * self.prompt_length, *words]
            prompts.append(ids + [PADDING_ID] * (context - len(ids)))
        return prompts

    def validate_reductions(self) -> None:
        """Hidden layers have at least one unit. (`@strict` calls every `validate_…` method.)"""
        for name, tower in (("token_selector_reduction", self.clip_text), ("gate_reduction", self.clip_vision)):
            value = getattr(self, name)
            if value > tower.hidden_size:
                raise ValueError(f"`{name}` is {value}, but must be at most {tower.hidden_size}, the tower's width.")

    def validate_clip_name(self) -> None:
        """A checkpoint without CLIP names its CLIP."""
        if not self.includes_clip and not self.clip_name_or_path:
            raise ValueError(
                "`includes_clip` is False, so `clip_name_or_path` must name the CLIP to fetch, but is empty."
            )

    def validate_feature_layers(self) -> None:
        """The layers exist and ascend, and each has a scale weight."""
        num_layers = self.clip_vision.num_hidden_layers
        layers = list(self.feature_layers)
        if not layers or layers != sorted(set(layers)) or layers[0] < 1 or layers[-1] > num_layers:
            raise ValueError(
                f"`feature_layers` is {layers}, but must be ascending block numbers from 1 to {num_layers}, the last "
                "block of this CLIP's vision tower."
            )
        if len(layers) > self.num_scale_weights:
            raise ValueError(
                f"`feature_layers` has {len(layers)} entries, but `num_scale_weights` is {self.num_scale_weights}; "
                "each layer needs a weight."
            )

    def validate_image_size(self) -> None:
        """Patches are square, and the image has whole patches."""
        patch_size: Any = self.clip_vision.patch_size
        if not isinstance(patch_size, int) or patch_size < 1:
            raise ValueError(
                f"CLIP's `patch_size` is {patch_size}, but must be one number, at least 1: square patches."
            )
        if self.image_size % patch_size:
            raise ValueError(
                f"`image_size` is {self.image_size}, but must be a multiple of CLIP's patch size {patch_size}, "
                f"such as {max(round(self.image_size / patch_size), 1) * patch_size}."
            )

    def validate_prompts(self) -> None:
        """There are two prompts, and they fit this CLIP's text tower."""
        context, vocab_size = self.clip_text.max_position_embeddings, self.clip_text.vocab_size
        prompts: list[list[int]] = self.prompt_input_ids  # type: ignore[assignment]
        lengths = list(map(len, prompts))
        if self.prompt_length > context - 2:
            raise ValueError(
                f"`prompt_length` is {self.prompt_length}, but start token, prompt and end token must fit the text "
                f"context of {context} positions: at most {context - 2}."
            )
        if lengths != [context, context]:
            raise ValueError(
                f"`prompt_input_ids` has rows of {lengths} ids, but must be 2 rows (normal, anomalous) of {context}, "
                "the text context of this CLIP."
            )
        lowest, highest = min(map(min, prompts)), max(map(max, prompts))
        if lowest < 0 or highest >= vocab_size:
            wrong = lowest if lowest < 0 else highest
            raise ValueError(
                f"`prompt_input_ids` has the id {wrong}, but this CLIP's vocabulary has the ids 0 to "
                f"{vocab_size - 1}; pass ids made with its tokenizer."
            )
