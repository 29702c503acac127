"""Stage D: thresholds and figures on held-out procedural images."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from ... import FBCLIPModel
from ...processing_fbclip import FBCLIPProcessor
from .settings import Settings
from .training import images
from .validation import auroc
from .vocabulary import build_tokenizer

logger = logging.getLogger("modeling_fbclip.recipe")
NORMAL_IMAGES_BELOW, NORMAL_PIXELS_BELOW = 0.9, 0.995


@torch.no_grad()
def detect(model: FBCLIPModel, processor: FBCLIPProcessor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B,) and smoothed maps (B, height, width) of uint8 images."""
    inputs = processor(images=list(pixels))
    results = processor.post_process_anomaly_detection(model(inputs["pixel_values"].to(model.device)))
    return torch.tensor([result["score"] for result in results]), torch.stack([r["anomaly_map"] for r in results])


def held_out(model: FBCLIPModel, processor: FBCLIPProcessor, settings: Settings, stage: str) -> dict[str, Tensor]:
    """Scores, maps, labels and masks of the held-out images of `stage`."""
    dataset, found = images(settings, stage, settings.detect_size), []
    for first in range(0, settings.validation_images, 8):
        batch = dataset.batch(range(first, first + 8))
        scores, maps = detect(model, processor, batch["pixels"])
        found.append({"scores": scores, "maps": maps, "labels": batch["kind"] >= 0, "masks": batch["mask"]})
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def calibrate(model: FBCLIPModel, settings: Settings) -> tuple[FBCLIPProcessor, dict[str, float]]:
    """The processor, its thresholds set so that a tenth of normal images and 0.5 % of normal pixels exceed them.

    The figures are of other images than the thresholds.
    """
    processor = FBCLIPProcessor.from_config(model.config, tokenizer=build_tokenizer())
    found = held_out(model, processor, settings, "calibration")
    normal = ~found["labels"]
    processor.threshold = float(found["scores"][normal].quantile(NORMAL_IMAGES_BELOW))
    pixels = found["maps"][normal].flatten()[::97]  # every 97th: a quantile needs no more
    processor.pixel_threshold = float(pixels.quantile(NORMAL_PIXELS_BELOW))
    record = {
        "threshold": round(processor.threshold, 4),
        "pixel_threshold": round(processor.pixel_threshold, 4),
        **figures(held_out(model, processor, settings, "validation")),
    }
    logger.info("calibration: %s", record)
    return processor, record


def figures(found: dict[str, Tensor]) -> dict[str, float]:
    """Pixel and image AUROC."""
    maps, masks = found["maps"].flatten()[::7], found["masks"].flatten()[::7]
    return {
        "pixel_auroc": round(auroc(maps, masks), 4),
        "image_auroc": round(auroc(found["scores"], found["labels"]), 4),
        "map_max_auroc": round(auroc(found["maps"].flatten(1).amax(1), found["labels"]), 4),
    }
