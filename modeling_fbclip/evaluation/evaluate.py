"""The paper's evaluation of a model on a data set, by category and on average."""

import logging
from collections.abc import Callable, Collection
from importlib.metadata import version
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, IterableDataset

from modeling_fbclip.common.provenance import trained_images, trained_on
from modeling_fbclip.data.registry import KNOWN_DATASETS
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.processes import join_processes
from modeling_fbclip.detection.threads import THREADS
from modeling_fbclip.evaluation.metrics import Metrics, compute_metrics, mean_metrics
from modeling_fbclip.evaluation.predict import Prediction, masked_maps, predict, scores_and_labels
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

logger = logging.getLogger(__name__)

EVALUATION_SIZE = 518
REPORTED_VERSIONS = ("modeling-fbclip", "torch", "transformers", "numpy", "scipy")


class CategoryReport(NamedTuple):
    """Metrics of one category, its numbers of images, and how many of them the model was trained on."""

    name: str
    metrics: Metrics
    counts: dict[str, int]
    trained: int


def evaluate(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    dataset: Dataset | IterableDataset,
    size: int | tuple[int, int] = EVALUATION_SIZE,
    smoothing_sigma: float | None = None,
    batch_size: int = 4,
    num_workers: int | None = None,
    plots: str | Path | None = None,
    on_image: Callable[[], object] | None = None,
) -> dict[str, Any]:
    r"""
    Evaluates a model as in the paper (section 4, with the details of the released code). Maps are upsampled to `size`
    and smoothed. Masks are resized to `size`, and anomalous above one half. Each metric is computed over the pooled
    pixels of a category, then averaged over the categories.

    One category is in memory at a time, with about 2.5 MB for an image of 518 × 518 pixels. Several processes share
    the batches of each category, and take turns in computing the metrics of one. All return the same report.

    Args:
        model ([`FBCLIPModel`]): The model, on the device to use.
        processor ([`FBCLIPProcessor`]): Its processor, which has the kind of `score`. Thresholds are not used.
        dataset (`datasets.Dataset` or `datasets.IterableDataset`): Columns `image`, `label` (1 if anomalous, else 0)
            and, optionally, `mask` (an image or `None`), `category` and `path`. The rows of a stream must be sorted by
            category.
        size (`int` or `tuple[int, int]`, defaults to 518): Height and width of the maps and masks in pixels.
        smoothing_sigma (`float`, *optional*): Standard deviation of the Gaussian, in pixels at `size`. Defaults to the
            processor's, scaled from its image size: the paper's 4 pixels at 518.
        batch_size (`int`, defaults to 4): Images that the model gets at once.
        num_workers (`int`, *optional*): Threads that read images. Defaults to one a core, at most eight.
        plots (path, *optional*): Folder for figures of each category and overlays of its worst errors.
        on_image (callable, *optional*): Called after each image.

    Returns:
        `dict`: `mean` and `categories` (by name) as from [`compute_metrics`]; `counts` by category; `settings`;
        `versions`; `training_overlap`: the number of images that the model was trained on by its own record, `None`
        without a record, or `{"unknown": reason}` if the record cannot be looked up. Pixel metrics leave out anomalous
        images without a mask.

    Raises:
        `ValueError`: The data set is empty, lacks a column, or has an image that cannot be read.
    """
    if plots is not None:
        from modeling_fbclip.evaluation.plots import save_plots  # only figures need matplotlib

    if smoothing_sigma is None:
        height = size if isinstance(size, int) else size[0]
        smoothing_sigma = processor.smoothing_sigma * height / processor.image_size[0]
    evaluation_processor = FBCLIPProcessor(image_size=size, smoothing_sigma=smoothing_sigma)
    record = trained_images(model)
    trained = record if isinstance(record, frozenset) else frozenset()
    processes = join_processes()
    if processes.device is not None:
        model.to(processes.device)  # type: ignore[arg-type]
    detector = Detector(model, processor)
    threads = THREADS if num_workers is None else max(1, num_workers)
    predictions = predict(
        detector, evaluation_processor, dataset, batch_size, threads, bool(trained), processes, on_image
    )
    own: dict[int, CategoryReport] = {}
    for number, (name, mine) in enumerate(predictions):
        gathered = processes.gather(mine, number % processes.size)
        if gathered is not None:
            held = sorted(chain.from_iterable(gathered), key=attrgetter("row"))
            own[number] = report_category(name, held, trained)
            if plots is not None:
                save_plots(Path(plots), name, held, dataset, processor)
            del held
        del mine, gathered  # before the next category is predicted
    everyones = dict(chain.from_iterable(reports.items() for reports in processes.gather_everywhere(own)))
    categories = [everyones[number] for number in sorted(everyones)]
    if processes.is_main:
        _warn_of_training_set(trained_on(model), {category.name for category in categories})
    return {
        "mean": mean_metrics(category.metrics for category in categories),
        "categories": {category.name: category.metrics for category in categories},
        "counts": {category.name: category.counts for category in categories},
        "training_overlap": _training_overlap(record, categories, processes.is_main),
        "settings": _settings(detector, evaluation_processor, batch_size),
        "versions": {name: version(name) for name in REPORTED_VERSIONS},
    }


def _settings(detector: Detector, evaluation_processor: FBCLIPProcessor, batch_size: int) -> dict[str, Any]:
    return {
        "size": list(evaluation_processor.image_size),
        "smoothing_sigma": evaluation_processor.smoothing_sigma,
        "image_size": list(detector.processor.image_size),
        "score": detector.processor.score,
        "batch_size": batch_size,
        "dtype": str(detector.model.dtype).removeprefix("torch."),
        "device": detector.model.device.type,
    }


def report_category(name: str, predictions: list[Prediction], trained: Collection[str]) -> CategoryReport:
    """The report on a category. `trained` has the digests of the model's training images."""
    anomalous = [prediction for prediction in predictions if prediction.label]
    counts = {
        "images": len(predictions),
        "normal": len(predictions) - len(anomalous),
        "anomalous": len(anomalous),
        "anomalous_without_mask": sum(prediction.mask is None for prediction in anomalous),
    }
    metrics = compute_metrics(*masked_maps(predictions), *scores_and_labels(predictions))
    return CategoryReport(name, metrics, counts, sum(prediction.digest in trained for prediction in predictions))


def _warn_of_training_set(name: str | None, categories: set[str]) -> None:
    """Warns if all of the categories are of the data set that the released weights were trained on."""
    known = KNOWN_DATASETS.get(name or "")
    if known is not None and categories <= set(known.categories):
        logger.warning("NOT ZERO-SHOT: these weights were trained on %s, which has these categories.", known.title)


def _training_overlap(
    record: frozenset[str] | str | None, categories: list[CategoryReport], tell: bool
) -> dict[str, Any] | None:
    if not isinstance(record, frozenset):
        return None if record is None else {"unknown": record}
    images = sum(category.counts["images"] for category in categories)
    overlap = {"images": sum(category.trained for category in categories), "of": images}
    if tell and overlap["images"]:
        logger.warning("NOT ZERO-SHOT: the model was trained on %(images)d of the %(of)d images evaluated.", overlap)
    return overlap
