"""The small CLIP that is trained: its configuration, and its embeddings as FB-CLIP reads them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from modeling_fbclip.backbone_fbclip import text_hidden_states, vision_layer_tokens

from .initial import start_mimetic
from .settings import Settings
from .vocabulary import CONTEXT

HEAD_WIDTH = 64
PATCH = 8
END_OF_TEXT_WEIGHT = 0.5  # as in FB-CLIP's fusion of its readings


def matmul_attention(
    module: nn.Module,  # noqa: ARG001 - the signature is transformers'
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,  # noqa: ARG001
    scaling: float = 1.0,
    **_: object,
) -> tuple[Tensor, None]:
    """Softmax attention in the tensors' own dtype. On a CPU its gradient takes half the time of SDPA's."""
    with torch.autocast(query.device.type, enabled=False):
        weights = ((query * scaling) @ key.transpose(-1, -2)).softmax(-1)
        return (weights @ value).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register("matmul", matmul_attention)


def build_clip(settings: Settings, vocabulary_size: int) -> CLIPModel:
    """A CLIPModel with random weights; end-of-text is the last word of the vocabulary."""
    text, vision = settings.text_width, settings.vision_width
    tower = {"hidden_act": "gelu", "projection_dim": settings.projection}
    text_config = tower | {
        "hidden_size": text,
        "intermediate_size": 4 * text,
        "num_hidden_layers": settings.text_layers,
        "num_attention_heads": max(1, text // HEAD_WIDTH),
        "vocab_size": vocabulary_size,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": vocabulary_size - 1,
    }
    vision_config = tower | {
        "hidden_size": vision,
        "intermediate_size": 4 * vision,
        "num_hidden_layers": settings.vision_layers,
        "num_attention_heads": max(1, vision // HEAD_WIDTH),
        "patch_size": PATCH,
        "image_size": settings.image_size,
    }
    config = CLIPConfig(text_config=text_config, vision_config=vision_config, projection_dim=settings.projection)
    clip = CLIPModel(config)
    start_mimetic(clip.vision_model)
    if settings.device == "cpu":
        clip.vision_model.set_attn_implementation("matmul")
    return clip


def vision_layers(clip: CLIPModel, pixel_values: Tensor) -> list[Tensor]:
    """Raw outputs of all blocks, (B, N, D) each, CLS first."""
    blocks = len(clip.vision_model.encoder.layers)
    return vision_layer_tokens(clip.vision_model, pixel_values, list(range(1, blocks + 1)))


def token_embeds(clip: CLIPModel, tokens: Tensor) -> Tensor:
    """Normalised embeddings of a block's tokens in the joint space, (B, N, P)."""
    return F.normalize(clip.visual_projection(clip.vision_model.post_layernorm(tokens)).float(), dim=-1)


def text_embeds(clip: CLIPModel, input_ids: Tensor) -> Tensor:
    """Normalised embeddings of sentences in the joint space, (T, P): the mean of all positions and half end-of-text.

    As in FB-CLIP, the text tower has no causal mask, and padding takes part.
    """
    states = text_hidden_states(clip.text_model, clip.text_model.embeddings.token_embedding(input_ids))
    end = states[torch.arange(len(states), device=states.device), input_ids.argmax(-1)]
    return F.normalize(clip.text_projection(states.mean(1) + END_OF_TEXT_WEIGHT * end).float(), dim=-1)
