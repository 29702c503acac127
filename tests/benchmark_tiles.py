"""Squashed, aspect, tiles and joined side by side, at the images' own sizes. Called by `tests/benchmark_tiny.py`."""

import time
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.evaluation import compute_metrics
from modeling_fbclip.evaluation.predict import read_sample
from modeling_fbclip.maps_fbclip import smooth_in_place
from modeling_fbclip.tiles_fbclip import merge_tiles

METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pixel_aupro": "AUPRO exact"}
MODES = ("squashed", "aspect", "tiles", "joined")


class Result(NamedTuple):
    """What one mode says of an image, and how long it took."""

    score: float
    anomaly_map: np.ndarray
    seconds: float


def measure_modes(detector: Detector, dataset: Dataset, tile: Any) -> dict[str, Any]:
    """Percent and seconds an image of each mode; tiles of the size that the processor's `tile` says."""
    plain = detector.processor
    modes = {
        "squashed": plain.with_views(tile=None, keep_aspect=False),
        "aspect": plain.with_views(tile=None, keep_aspect=True),
        "joined": plain.with_views(tile=tile, keep_aspect=True),
    }
    found: dict[str, list[Result]] = {mode: [] for mode in MODES}
    labels, masks, num_tiled = [], [], 0
    for index, row in enumerate(track(dataset, description="views", total=len(dataset))):
        truth, prepared = read_sample(row, index, Detector(detector.model, modes["squashed"]), None)
        labels.append(truth.label)
        masks.append(truth.mask)
        for mode, processor in modes.items():
            results = _examine(Detector(detector.model, processor), prepared.picture)
            found[mode].append(results["joined"])
            if mode == "joined":
                found["tiles"].append(results["tiles"])
        num_tiled += len(modes["joined"].views(prepared.size)) > 1
    rows = {mode: _figures(results, masks, labels) for mode, results in found.items()}
    return {"tile": tile, "images": len(labels), "images_in_tiles": num_tiled, "modes": rows}


def _examine(detector: Detector, picture: Image.Image) -> dict[str, Result]:
    """Joined; and by the tiles alone, if there are any, with their share of the time."""
    started = time.perf_counter()
    prepared = detector.prepare(picture)
    (outputs,) = detector.run([prepared])
    processor, size = detector.processor, prepared.size
    joined = Result(processor.score_of_views(outputs, size), processor.map_of_views(outputs, size).numpy(), 0.0)
    joined = joined._replace(seconds=time.perf_counter() - started)
    tiling = processor.viewing.tiling(size)
    if tiling is None:
        return {"joined": joined, "tiles": joined}
    merged = merge_tiles([output["anomaly_maps"][0] for output in outputs[1:]], tiling, size)
    smoothed = smooth_in_place(merged, processor.smoothing_sigma * processor.viewing.tiles.factor)
    tiles = zip(outputs[1:], prepared.views[1:], strict=True)
    score = max(processor.score_of_views([output], view.size) for output, view in tiles)
    seconds = joined.seconds * (len(outputs) - 1) / len(outputs)
    return {"joined": joined, "tiles": Result(score, smoothed.numpy(), seconds)}


def _figures(results: list[Result], masks: list[Any], labels: list[int]) -> dict[str, float | None]:
    known = [index for index, mask in enumerate(masks) if mask is not None]
    metrics = compute_metrics(
        [results[index].anomaly_map for index in known],
        [masks[index] for index in known],
        [result.score for result in results],
        labels,
    )
    return {name: metrics[name] for name in METRICS} | {"seconds": float(np.mean([one.seconds for one in results]))}


def print_modes(name: str, found: dict[str, Any]) -> None:
    """A row a mode."""
    title = f"{name}: {found['images_in_tiles']} of {found['images']} images in tiles ({found['tile']}); percent"
    table = Table("mode", *METRICS.values(), "seconds an image", title=title)
    for mode, row in found["modes"].items():
        numbers = ["n/a" if row[metric] is None else f"{100 * row[metric]:.1f}" for metric in METRICS]
        table.add_row(mode, *numbers, f"{row['seconds']:.2f}")
    Console(width=110).print(table)
