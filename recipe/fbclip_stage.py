"""Stage C trains the FB-CLIP parts on the frozen CLIP, with cross entropy and dice; `Settings` says why."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPModel

from modeling_fbclip import FBCLIPModel
from modeling_fbclip.attention_fbclip import FBCLIPAttentionStream

from .clip_stage import fbclip_prompts
from .dataset import Batch, normalise
from .settings import LOSSES, TRAINING, Settings
from .student import HEAD_WIDTH
from .training import images, train
from .vocabulary import PLACEHOLDER, encode

logger = logging.getLogger("modeling_fbclip.recipe")
ATTENTION_SCALE = 1.0  # sharp: a token attends to itself and to similar tokens


def build_fbclip(clip: CLIPModel, settings: Settings) -> FBCLIPModel:
    """An FB-CLIP whose first map is nearly the plain patch · text map at the end of stage B."""
    clip.vision_model.set_attn_implementation("sdpa")
    model = FBCLIPModel.from_clip(
        clip.float(),
        image_size=settings.detect_size,
        feature_layers=list(settings.feature_layers),
        prompt_input_ids=encode(fbclip_prompts()).tolist(),
        attention_heads=settings.vision_width // HEAD_WIDTH,
        attention_head_dim=HEAD_WIDTH,
    )
    start_near_identity(model)
    return model


@torch.no_grad()
def start_near_identity(model: FBCLIPModel) -> None:
    """Sets attention to pass tokens on, its norm to CLIP's last one, the prompts to placeholders, no attention pool.

    The attention has no residual connection: with random weights it averages all tokens, and the maps stay flat.
    """
    width = model.clip.visual_projection.in_features
    stream: FBCLIPAttentionStream
    for stream in (model.attention.foreground, model.attention.background):
        stream.qkv.weight.copy_(torch.eye(width).repeat(3, 1))
        stream.out.weight.copy_(torch.eye(width))
        stream.out.bias.zero_()
        stream.scale.fill_(ATTENTION_SCALE)
    model.attention.norm.load_state_dict(model.clip.vision_model.post_layernorm.state_dict())
    word = model.clip.text_model.embeddings.token_embedding.weight[encode([PLACEHOLDER])[0, 1]]
    model.text_branch.prompt_embeddings.copy_(word.expand_as(model.text_branch.prompt_embeddings))
    last = model.text_branch.projection_mlp[2]
    torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(last.bias)  # type: ignore[arg-type]


def train_fbclip(clip: CLIPModel, settings: Settings, work: Path, workers: int) -> tuple[FBCLIPModel, dict[str, int]]:
    """Runs stage C. The model's configuration gets the settings for users' fine-tuning."""
    torch.manual_seed(settings.seed)
    model = build_fbclip(clip, settings).train()
    model.to(settings.device)  # type: ignore[arg-type]
    model.config.focal_gamma = settings.fbclip_focal_gamma
    model.config.consistency_weight = settings.fbclip_consistency_weight

    def loss(batch: Batch) -> dict[str, Tensor]:
        output = model(normalise(batch["pixels"]), labels=(batch["kind"] >= 0).long(), mask_labels=batch["mask"])
        return {
            "image": output.image_focal_loss,
            "mask": output.mask_focal_loss,
            "dice": output.dice_loss,
            "consistency": output.consistency_loss,
        }

    seconds = train(
        "fbclip", model, loss, images(settings, "fbclip", settings.fbclip_size), settings, work,
        settings.fbclip_batch_size, settings.fbclip_rate, workers,
    )  # fmt: skip
    record = {"seconds": round(seconds)}
    logger.info("fbclip: %s", record)
    model.config.training = dict(TRAINING)
    for name, weight in LOSSES.items():
        setattr(model.config, name, weight)
    return model.eval(), record
