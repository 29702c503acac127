"""Stage D: smoothing, image score and thresholds are chosen on surfaces that no stage is trained on.

A user's surface is also new to the model. On surfaces that it was trained on, the image score (CLS) looks too good.
The choices need many images: with 192, the AUROC of the same score is 75 or 85 by chance.
The figures are measured on other images, on trained surfaces ("validation") and on new ones ("unfamiliar").
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from modeling_fbclip import FBCLIPModel
from modeling_fbclip.evaluation import compute_metrics
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.results_fbclip import SCORES, one_output

from .dataset import normalise
from .large import calibrate_large
from .settings import Settings
from .training import images
from .validation import auroc
from .vocabulary import build_tokenizer

logger = logging.getLogger("modeling_fbclip.recipe")
NORMAL_IMAGES_BELOW, NORMAL_PIXELS_BELOW = 0.9, 0.995
SIGMAS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0)  # pixels at `detect_size`
SMOOTHING_TOLERANCE = 0.005  # of AUPRO; too small to see in a map


@torch.no_grad()
def held_out(model: FBCLIPModel, settings: Settings, stage: str) -> dict[str, Tensor]:
    """The model's outputs, labels and masks of the held-out images of `stage`."""
    dataset, found = images(settings, stage, settings.detect_size), []
    count = settings.calibration_images if stage == "calibration" else settings.validation_images
    for first in range(0, count, 8):
        batch = dataset.batch(range(first, first + 8))
        output = model(normalise(batch["pixels"]).to(model.device))
        found.append(
            {
                "image_scores": output.image_scores.cpu(),
                "anomaly_maps": output.anomaly_maps.cpu(),
                "labels": batch["kind"] >= 0,
                "masks": batch["mask"],
            }
        )
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def calibrate(model: FBCLIPModel, settings: Settings) -> tuple[FBCLIPProcessor, dict[str, object]]:
    """The processor and its figures. A tenth of normal images and 0.5 % of normal pixels exceed the thresholds."""
    processor = FBCLIPProcessor.from_config(model.config, tokenizer=build_tokenizer())
    found = held_out(model, settings, "calibration")
    smoothings = choose_smoothing(processor, found)
    scores = choose_score(processor, found)
    normal = ~found["labels"]
    threshold = float(processor.image_scores(found)[normal].quantile(NORMAL_IMAGES_BELOW))
    pixels = maps_of(processor, found)[normal].flatten()[::97]  # every 97th pixel is enough for a quantile
    pixel_threshold = float(pixels.quantile(NORMAL_PIXELS_BELOW))
    processor.set_thresholds(threshold, pixel_threshold, processor.mode(processor.image_size), with_references=False)
    model.config.smoothing_sigma = processor.smoothing_sigma
    record: dict[str, object] = {
        "aupro_by_smoothing_sigma": smoothings,
        "image_auroc_by_score": scores,
        "smoothing_sigma": processor.smoothing_sigma,
        "score": processor.score,
        "threshold": round(processor.threshold, 4),
        "pixel_threshold": round(processor.pixel_threshold, 4),
        "validation": figures(processor, held_out(model, settings, "validation")),
        "unfamiliar": figures(processor, held_out(model, settings, "unfamiliar")),
        "large": calibrate_large(model, processor, settings, (NORMAL_IMAGES_BELOW, NORMAL_PIXELS_BELOW)),
    }
    logger.info("calibration: %s", record)
    return processor, record


def choose_smoothing(processor: FBCLIPProcessor, found: dict[str, Tensor]) -> dict[str, float]:
    """Sets the largest sigma that costs almost no AUPRO: smooth maps have fewer specks. Returns the AUPRO of each."""
    result = {}
    for sigma in SIGMAS:
        processor.smoothing_sigma = sigma
        result[str(sigma)] = figures(processor, found)["pixel_aupro"]
    enough = max(result.values()) - SMOOTHING_TOLERANCE
    processor.smoothing_sigma = max(float(sigma) for sigma, aupro in result.items() if aupro >= enough)
    return result


def choose_score(processor: FBCLIPProcessor, found: dict[str, Tensor]) -> dict[str, float]:
    """Sets the image score with the best AUROC. Returns the AUROC of each."""
    result = {}
    for score in SCORES:
        processor.score = score
        result[score] = round(auroc(processor.image_scores(found), found["labels"]), 4)
    processor.score = max(result, key=lambda score: result[score])
    return result


def maps_of(processor: FBCLIPProcessor, found: dict[str, Tensor]) -> Tensor:
    """The smoothed maps, (B, height, width)."""
    count = len(found["anomaly_maps"])
    return torch.stack([processor.map_of_views([one_output(found, i)], processor.image_size) for i in range(count)])


def figures(processor: FBCLIPProcessor, found: dict[str, Tensor]) -> dict[str, float]:
    """Pixel AUROC, exact AUPRO and image AUROC of the maps and scores that a user gets."""
    scores = processor.image_scores(found)
    metrics = compute_metrics(maps_of(processor, found), found["masks"].numpy(), scores, found["labels"].numpy())
    wanted = ("pixel_auroc", "pixel_aupro", "image_auroc")
    return {name: round(metrics[name] or 0.0, 4) for name in wanted}  # undefined if all images have one label
