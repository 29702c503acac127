"""The critic: a detector on the teacher's features. Its opinion softens the labels that CLIP is trained with.

Rendered masks also mark defects that are too weak to see. A small head on the frozen teacher learns in minutes which
defects can be seen. The labels of the student are the mean of the mask and the critic's opinion.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dataset import Batch
from .settings import Settings
from .student import PATCH
from .targets import patch_loss, patch_targets
from .teacher import MAP_CHANNELS, Teacher
from .training import autocast, images, train

logger = logging.getLogger("modeling_fbclip.recipe")
WIDTH = 96


class Critic(nn.Module):
    """Maps at strides 4, 8, 16, 32 to a logit of "defect" for every patch of 8 × 8 pixels and for the image."""

    def __init__(self) -> None:
        super().__init__()
        channels = (MAP_CHANNELS[0] * 4, *MAP_CHANNELS[1:])  # stride 4 comes as 2 × 2 blocks
        self.norms = nn.ModuleList(nn.BatchNorm2d(each, affine=False) for each in channels)
        self.entries = nn.ModuleList(nn.Conv2d(each, WIDTH, 1) for each in channels)
        self.middle = nn.Sequential(nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1), nn.GELU())
        self.patch = nn.Conv2d(WIDTH, 1, 1)
        self.image = nn.Linear(2 * WIDTH, 1)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Patch logits (B, patches) and image logits (B,)."""
        maps = [F.pixel_unshuffle(maps[0], 2), *maps[1:]]
        side = maps[0].shape[-1]
        wide = [entry(norm(each)) for entry, norm, each in zip(self.entries, self.norms, maps, strict=True)]
        large = torch.stack([F.interpolate(each, size=(side, side), mode="bilinear") for each in wide])
        features = F.gelu(large.sum(0))
        unusual = features - features.mean((2, 3), keepdim=True)
        hidden = self.middle(torch.cat([features, unusual], 1))
        pooled = torch.cat([hidden.amax((2, 3)), hidden.mean((2, 3))], 1)
        return self.patch(hidden).flatten(1), self.image(pooled)[:, 0]


def train_critic(teacher: Teacher, settings: Settings, work: Path, workers: int) -> tuple[Critic, dict[str, object]]:
    """Trains the head on the frozen teacher."""
    torch.manual_seed(settings.seed)
    critic = Critic().to(settings.device)

    def loss(batch: Batch) -> dict[str, Tensor]:
        with autocast(settings.device):
            patches, image = critic([each.float() for each in teacher(batch["pixels"])[:-1]])
        return {
            "image": F.binary_cross_entropy_with_logits(image.float(), (batch["kind"] >= 0).float()),
            "patch": patch_loss(patches.float(), patch_targets(batch["mask"], PATCH)),
        }

    seconds = train(
        "critic", critic, loss, images(settings, "critic"), settings, work,
        settings.batch_size, 2e-3, workers,
    )  # fmt: skip
    record: dict[str, object] = {"seconds": round(seconds)}
    logger.info("critic: %s", record)
    return critic.eval().requires_grad_(False), record
