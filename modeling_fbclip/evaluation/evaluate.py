"""The paper's evaluation of a model on a data set, by category and on average."""

import logging
from collections.abc import Callable, Collection
from importlib.metadata import version
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, IterableDataset

from modeling_fbclip.common.provenance import trained_images
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
    """Metrics of one category, its numbers of images, and the number of those that the model was trained on."""

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
    Evaluates a model as the paper does (section 4, with the details of the released code): maps are upsampled to
    `size` and smoothed there; masks are resized to it and anomalous above one half; each metric is computed over the
    pooled pixels of a category, then averaged over the categories.

    Images are read as they are needed, and one category is held at a time. At 518 × 518 pixels an image costs about
    2.5 MB while its category is computed: a float32 map, a mask, and a copy of the map's pixels for sorting.
    Launched on several processes, all share the batches of each category, of a stream too; the processes take turns in
    computing the metrics of a category, which its maps go to; all return the same report.

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
        num_workers (`int`, *optional*): Threads that read images ahead. Defaults to one a core, eight at most.
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
    known = trained_images(model)
    trained = known if isinstance(known, frozenset) else None
    processes = join_processes()
    if processes.device is not None:
        model.to(processes.device)  # type: ignore[arg-type]
    detector = Detector(model, processor)
    predictions = predict(
        detector,
        evaluation_processor,
        dataset,
        batch_size,
        num_workers or THREADS,
        trained is not None,
        processes,
        on_image,
    )
    own: dict[int, CategoryReport] = {}
    for number, (name, mine) in enumerate(predictions):
        gathered = processes.gather(mine, number % processes.size)
        if gathered is not None:
            held = sorted(chain.from_iterable(gathered), key=attrgetter("row"))
            own[number] = report_category(name, held, trained or frozenset())
            if plots is not None:
                save_plots(Path(plots), name, held, dataset)
    everyones = dict(chain.from_iterable(reports.items() for reports in processes.gather_everywhere(own)))
    categories = [everyones[number] for number in sorted(everyones)]
    overlap: dict[str, Any] | None = None
    if trained is not None:
        images = sum(category.counts["images"] for category in categories)
        overlap = {"images": sum(category.trained for category in categories), "of": images}
        if overlap["images"]:
            logger.warning(
                "NOT ZERO-SHOT: the model was trained on %(images)d of the %(of)d images evaluated.", overlap
            )
    elif known is not None:
        overlap = {"unknown": known}
    return {
        "mean": mean_metrics(category.metrics for category in categories),
        "categories": {category.name: category.metrics for category in categories},
        "counts": {category.name: category.counts for category in categories},
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


def report_category(name: str, predictions: list[Prediction], trained: Collection[str]) -> CategoryReport:
    """The report on one category's predictions. `trained` has the digests of the model's training images."""
    anomalous = [prediction for prediction in predictions if prediction.label]
    counts = {
        "images": len(predictions),
        "normal": len(predictions) - len(anomalous),
        "anomalous": len(anomalous),
        "anomalous_without_mask": sum(prediction.mask is None for prediction in anomalous),
    }
    metrics = compute_metrics(*masked_maps(predictions), *scores_and_labels(predictions))
    return CategoryReport(name, metrics, counts, sum(prediction.digest in trained for prediction in predictions))
