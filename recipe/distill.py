"""Stage A: the vision tower learns to predict the teacher's feature maps."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel

from .dataset import Batch, normalise
from .settings import Settings
from .student import build_clip, vision_layers
from .teacher import MAP_CHANNELS, POOLED_CHANNELS, Teacher
from .training import autocast, images, train
from .vocabulary import build_tokenizer

logger = logging.getLogger("modeling_fbclip.recipe")
TAPS = (2, 3, 5, 6)  # blocks (1-based) that predict the maps at strides 4, 8, 16, 32


class Distiller(nn.Module):
    """The student with one linear head for each teacher map; the last head reads CLS."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        width = clip.visual_projection.in_features
        self.clip = clip
        channels = (MAP_CHANNELS[0] * 4, *MAP_CHANNELS[1:], POOLED_CHANNELS)  # stride 4 comes as 2 × 2 blocks
        self.heads = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, each)) for each in channels)
        for index, each in enumerate(channels):
            self.register_buffer(f"mean{index}", torch.zeros(each))
            self.register_buffer(f"deviation{index}", torch.ones(each))
        # This stage uses no text, and the raw outputs of the vision blocks.
        for unused in (
            clip.text_model,
            clip.text_projection,
            clip.visual_projection,
            clip.vision_model.post_layernorm,
        ):
            unused.requires_grad_(False)
        clip.logit_scale.requires_grad_(False)

    def targets(self, outputs: list[Tensor]) -> list[Tensor]:
        """The teacher's outputs as (B, places, channels)."""
        first, *rest, pooled = outputs
        maps = [F.pixel_unshuffle(first, 2), *rest]
        return [*(m.flatten(2).transpose(1, 2).float() for m in maps), pooled[:, None].float()]

    def measure(self, teacher: Teacher, pixels: Tensor) -> None:
        """Sets the mean and standard deviation for standardising the teacher's channels."""
        with autocast(pixels.device.type):
            outputs = teacher(pixels)
        for index, target in enumerate(self.targets(outputs)):
            getattr(self, f"mean{index}").copy_(target.mean((0, 1)))
            getattr(self, f"deviation{index}").copy_(target.std((0, 1)) + 1e-3)

    def similarities(self, layers: list[Tensor], targets: list[Tensor]) -> list[Tensor]:
        """Mean cosine of predicted and standardised teacher features, for each map and for the pooled vector."""
        grid = int((layers[0].shape[1] - 1) ** 0.5)
        result = []
        for index, target in enumerate(targets):
            if index == len(TAPS):
                tokens = layers[-1][:, :1]
            else:
                tokens = layers[TAPS[index] - 1][:, 1:]
                side = int(target.shape[1] ** 0.5)
                square = tokens.transpose(1, 2).unflatten(2, (grid, grid))
                tokens = F.adaptive_avg_pool2d(square, side).flatten(2).transpose(1, 2) if side != grid else tokens
            target = (target - getattr(self, f"mean{index}")) / getattr(self, f"deviation{index}")
            result.append(F.cosine_similarity(self.heads[index](tokens).float(), target, dim=-1).mean())
        return result


def distil(settings: Settings, work: Path, workers: int) -> tuple[Distiller, Teacher, dict[str, object]]:
    """Runs stage A and returns the student with its heads, the teacher and the record."""
    torch.manual_seed(settings.seed)
    teacher = Teacher.pretrained().to(settings.device)
    student = Distiller(build_clip(settings, len(build_tokenizer()))).to(settings.device)
    sample = images(settings, "statistics").batch(range(4 * settings.batch_size))["pixels"]
    student.measure(teacher, sample.to(settings.device))

    def loss(batch: Batch) -> dict[str, Tensor]:
        with autocast(settings.device):
            layers = vision_layers(student.clip, normalise(batch["pixels"]))
            found = student.similarities(layers, student.targets(teacher(batch["pixels"])))
        return {f"map{index}": 1 - similarity for index, similarity in enumerate(found)}

    seconds = train(
        "distill", student, loss, images(settings, "distill"), settings, work,
        settings.batch_size, 1e-3, workers,
    )  # fmt: skip
    record = {"seconds": round(seconds), "held_out_cosine": held_out(student, teacher, settings)}
    logger.info("distill: %s", record)
    return student, teacher, record


@torch.no_grad()
def held_out(student: Distiller, teacher: Teacher, settings: Settings) -> list[float]:
    """The five cosines on validation images."""
    dataset, found = images(settings, "validation"), []
    for first in range(0, min(256, settings.validation_images), settings.batch_size):
        pixels = dataset.batch(range(first, first + settings.batch_size))["pixels"].to(settings.device)
        with autocast(settings.device):
            layers = vision_layers(student.clip, normalise(pixels))
            found.append(torch.stack(student.similarities(layers, student.targets(teacher(pixels)))))
    return [round(value, 3) for value in torch.stack(found).mean(0).tolist()]
