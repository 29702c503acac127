"""The paper's evaluation of a model on a data set, by category and on average."""

import logging
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from datasets import Dataset, IterableDataset

from modeling_fbclip.common.provenance import trained_images
from modeling_fbclip.evaluation.metrics import Metrics, compute_metrics, mean_metrics
from modeling_fbclip.evaluation.predict import (
    Prediction,
    by_category,
    masked_maps,
    notifying,
    predict,
    scores_and_labels,
    sort_by_category,
)
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

logger = logging.getLogger(__name__)

EVALUATION_SIZE = 518
REPORTED_VERSIONS = ("modeling-fbclip", "torch", "transformers", "numpy", "scipy")


def evaluate(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    dataset: Dataset | IterableDataset,
    size: int | tuple[int, int] = EVALUATION_SIZE,
    smoothing_sigma: float | None = None,
    batch_size: int = 4,
    num_workers: int = 0,
    plots: str | Path | None = None,
    on_image: Callable[[], None] | None = None,
) -> dict[str, Any]:
    r"""
    Evaluates a model as the paper does (section 4, with the details of the released code): maps are upsampled to
    `size` and smoothed there; masks are resized to it and anomalous above one half; each metric is computed over the
    pooled pixels of a category, then averaged over the categories.

    Images are read as they are needed, and one category is held at a time. At 518 × 518 pixels an image costs about
    2.5 MB while its category is computed: a float32 map, a mask, and a copy of the map's pixels for sorting.
    Launched with accelerate on several processes, all share the work, of a stream too, and all return the same report.

    Args:
        model ([`FBCLIPModel`]): The model, on the device to use.
        processor ([`FBCLIPProcessor`]): Its processor, which prepares the images and says what their scores are.
            Its thresholds play no part.
        dataset (`datasets.Dataset` or `datasets.IterableDataset`): Columns `image`, `label` (1 if anomalous, else 0)
            and, as far as there are such, `mask` (an image or `None`), `category` and `path`. A stream must have each
            category in one run.
        size (`int` or `tuple[int, int]`, defaults to 518): Height and width in pixels of the maps and masks compared.
        smoothing_sigma (`float`, *optional*): Standard deviation of the Gaussian, in pixels at `size`. Defaults to the
            processor's own, scaled from its image size: the paper's 4 pixels at 518.
        batch_size (`int`, defaults to 4): Images that the model sees at once.
        num_workers (`int`, defaults to 0): Processes that read images.
        plots (path, *optional*): Folder for figures of each category and overlays of its worst misses.
        on_image (callable, *optional*): Called after each image.

    Returns:
        `dict`: `mean` and `categories` (by name) as [`compute_metrics`] has them, `None` where undefined; `counts` by
        category, `settings`, `versions`, and `training_overlap`: how many images the model's own record says it was
        trained on, `None` without a record, `{"unknown": reason}` if the Hub cannot be asked for it. Anomalous images
        without a mask are left out of the pixel metrics.

    Raises:
        `ValueError`: If the data set is empty, lacks a column, or holds an image that cannot be read.
    """
    if plots is not None:
        from modeling_fbclip.evaluation.plots import save_plots  # only figures need matplotlib

    evaluation_processor = FBCLIPProcessor(image_size=size)
    if smoothing_sigma is None:
        smoothing_sigma = processor.smoothing_sigma * evaluation_processor.image_size[0] / processor.image_size[0]
    evaluation_processor.smoothing_sigma = smoothing_sigma
    trained = trained_images(model)
    rows = sort_by_category(dataset)
    predictions = predict(model, processor, evaluation_processor, rows, batch_size, num_workers, trained is not None)
    categories: dict[str, Metrics] = {}
    counts: dict[str, dict[str, int]] = {}
    digests: list[str | None] = []  # of every image evaluated so far
    for name, held in by_category(notifying(predictions, on_image)):  # none but on the main process
        categories[name] = category_metrics(held)
        counts[name] = _count(held)
        if plots is not None:
            save_plots(Path(plots), name, held, rows, first_row=len(digests))
        digests += [prediction.digest for prediction in held]
    overlap = _training_overlap(trained, digests)
    if overlap and overlap.get("images"):
        logger.warning(
            "NOT ZERO-SHOT: the model was trained on %d of the %d images evaluated.", overlap["images"], overlap["of"]
        )
    report = {
        "mean": mean_metrics(categories.values()),
        "categories": categories,
        "counts": counts,
        "training_overlap": overlap,
        "settings": {
            "size": list(evaluation_processor.image_size),
            "smoothing_sigma": evaluation_processor.smoothing_sigma,
            "image_size": list(processor.image_size),
            "score": processor.score,
            "batch_size": batch_size,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": model.device.type,
        },
        "versions": {name: version(name) for name in REPORTED_VERSIONS},
    }
    return broadcast_object_list([report])[0]


def category_metrics(predictions: list[Prediction]) -> Metrics:
    """The metrics of one category's predictions."""
    return compute_metrics(*masked_maps(predictions), *scores_and_labels(predictions))


def _training_overlap(trained: frozenset[str] | str | None, evaluated: Sequence[str | None]) -> dict[str, Any] | None:
    """How many of the evaluated images were trained on, as the report has it."""
    if trained is None:
        return None
    if isinstance(trained, str):
        return {"unknown": trained}
    return {"images": sum(digest in trained for digest in evaluated), "of": len(evaluated)}


def _count(predictions: list[Prediction]) -> dict[str, int]:
    anomalous = [prediction for prediction in predictions if prediction.label]
    return {
        "images": len(predictions),
        "normal": len(predictions) - len(anomalous),
        "anomalous": len(anomalous),
        "anomalous_without_mask": sum(prediction.mask is None for prediction in anomalous),
    }
