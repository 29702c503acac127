"""Thresholds for images that are cut into tiles, and what tiles bring, on surfaces that no stage is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from modeling_fbclip import FBCLIPModel
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.evaluation import compute_metrics
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.thresholds_fbclip import Thresholds

from .dataset import ProceduralImages
from .settings import Settings
from .training import images

TIMES = 2.5  # the model's size: an image of nine tiles
PIXELS_TAKEN = 97  # every so many is enough for a quantile


class Examined(NamedTuple):
    """An image's score and map, and the truth."""

    score: float
    anomaly_map: np.ndarray
    label: bool
    mask: np.ndarray


def calibrate_large(
    model: FBCLIPModel, processor: FBCLIPProcessor, settings: Settings, quantiles: tuple[float, float]
) -> dict[str, object]:
    """
    Adds thresholds for the tiles of "auto" to the processor's: the quantiles of the scores and of the pixels of normal
    images. Returns them, and figures of the same images in each mode.
    """
    modes = {"squashed": processor, "tiles": processor.with_views(tile="auto")}
    side = round(TIMES * settings.detect_size)
    found = {
        name: list(examine(Detector(model, own), images(settings, "calibration", side), settings.large_images))
        for name, own in modes.items()
    }
    normal = [one for one in found["tiles"] if not one.label]
    pixels = np.concatenate([one.anomaly_map.ravel()[::PIXELS_TAKEN] for one in normal])
    scores = [one.score for one in normal]
    thresholds: Thresholds = {
        "threshold": float(np.quantile(scores, quantiles[0])),
        "pixel_threshold": float(np.quantile(pixels, quantiles[1])),
    }
    processor.other_thresholds = {modes["tiles"].mode((side, side)): thresholds}
    return {name: figures(some) for name, some in found.items()} | {
        "side": side,
        "images": settings.large_images,
        **{name: round(value, 4) for name, value in thresholds.items()},
    }


def examine(detector: Detector, dataset: ProceduralImages, count: int) -> Iterator[Examined]:
    """Each of the first images."""
    for index in range(count):
        item = dataset[index]
        result = detector(Image.fromarray(item["pixels"].permute(1, 2, 0).numpy()))
        yield Examined(result["score"], result["anomaly_map"].numpy(), item["kind"] >= 0, item["mask"].numpy())


def figures(examined: list[Examined]) -> dict[str, float]:
    """Pixel AUROC, exact AUPRO and image AUROC."""
    scores, maps, labels, masks = map(list, zip(*examined, strict=True))
    metrics = compute_metrics(maps, masks, scores, labels)
    wanted = ("pixel_auroc", "pixel_aupro", "image_auroc")
    return {name: round(metrics[name] or 0.0, 4) for name in wanted}
