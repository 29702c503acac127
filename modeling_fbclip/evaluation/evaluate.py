"""The paper's evaluation of a model on a data set, by category and on average."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset

from modeling_fbclip.common.provenance import CALIBRATION_RECORD, TRAINING_RECORD, recorded_images, trained_on
from modeling_fbclip.data.oddities import tell
from modeling_fbclip.data.registry import KNOWN_DATASETS
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.processes import Processes, join_processes
from modeling_fbclip.detection.threads import THREADS
from modeling_fbclip.evaluation.category_report import CategoryReport, report_category, with_figures
from modeling_fbclip.evaluation.metrics import mean_metrics
from modeling_fbclip.evaluation.predict import OWN_SIZE, CompareSize, Comparison, Prediction, predict
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.references_fbclip import FBCLIPReferences

logger = logging.getLogger(__name__)

# The overlaps in a report, each with the images of one of the model's records.
OVERLAPS = {"training_overlap": TRAINING_RECORD, "calibration_overlap": CALIBRATION_RECORD}
REPORTED_VERSIONS = ("modeling-fbclip", "torch", "transformers", "numpy", "scipy")


def evaluate(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    dataset: Dataset | IterableDataset,
    size: CompareSize | None = None,
    smoothing_sigma: float | None = None,
    batch_size: int = 4,
    num_workers: int | None = None,
    plots: str | Path | None = None,
    on_image: Callable[[], object] | None = None,
    with_rows: bool = False,
    with_pages: bool = False,
    references: FBCLIPReferences | None = None,
) -> dict[str, Any]:
    r"""
    Evaluates a model as in the paper (section 4, with the details of the released code). Maps are upsampled to `size`
    and smoothed. Masks are resized to `size`, and anomalous above one half. Each metric is computed over the pooled
    pixels of a category, then averaged over the categories.

    One category is in memory at a time, with about 2.5 MB for an image of 518 × 518 pixels. Several processes share
    the batches of each category, and take turns in computing the metrics of one. All return the same report.

    Args:
        model ([`FBCLIPModel`]): The model, on the device to use.
        processor ([`FBCLIPProcessor`]): Its processor, which has the kind of `score`. Its thresholds are
            only drawn in the figures.
        dataset (`datasets.Dataset` or `datasets.IterableDataset`): Columns `image`, `label` (1 if anomalous, else 0)
            and, optionally, `mask` (an image or `None`), `category` and `path`. The rows of a stream must be sorted by
            category.
        size (`int`, `tuple[int, int]` or `"own"`, *optional*): Height and width of the maps and masks in pixels;
            `"own"` for each image's. Defaults to 518 as in the paper, with tiles to `"own"`.
        smoothing_sigma (`float`, *optional*): Standard deviation of the Gaussian, in pixels at `size`. Defaults to the
            processor's, scaled from its image size: the paper's 4 pixels at 518.
        batch_size (`int`, defaults to 4): Images that the model gets at once.
        num_workers (`int`, *optional*): Threads that read images. Defaults to one a core, at most eight.
        plots (path, *optional*): Folder for figures of each category and overlays of its worst errors.
        on_image (callable, *optional*): Called after each image.
        with_rows (`bool`, defaults to `False`): Whether the report has `rows`, too.
        with_pages (`bool`, defaults to `False`): Whether it has `pages`: figures and images to look at.
        references ([`FBCLIPReferences`], *optional*): What the images are compared with, beside the texts.

    Returns:
        `dict`: `mean` and `categories` (by name) as from [`compute_metrics`]; `counts` by category; `settings`;
        `versions`; `training_overlap`: the number of images that the model was trained on by its own record, `None`
        without a record, or `{"unknown": reason}` if the record cannot be looked up; `calibration_overlap`: the same
        of the images that its thresholds were set on. Pixel metrics leave out anomalous images without a mask.
        `rows`, if asked for: `path`, `category`, `defect`, `label` and `score` of each image, and the name of its
        `figure` in `plots` if it is among the worst errors. `problems`, if any: why figures could not be saved.
        `pages`, if asked for: the parts of [`write_report`] on the categories.

    Raises:
        `ValueError`: The data set is empty, lacks a column, or has an image that cannot be read.
    """
    if plots is not None:
        from modeling_fbclip.evaluation.plots import save_plots  # only figures need matplotlib
    if with_pages:
        from modeling_fbclip.evaluation.report import make_page

    comparison = Comparison.of(processor, size, smoothing_sigma)
    records = {overlap: recorded_images(model, name) for overlap, name in OVERLAPS.items()}
    digests = {overlap: record for overlap, record in records.items() if isinstance(record, frozenset)}
    processes = join_processes()
    detector = Detector(model, processor, references=references)
    threads = THREADS if num_workers is None else max(1, num_workers)
    with_digests = any(digests.values())
    predictions = predict(detector, comparison, dataset, batch_size, threads, with_digests, processes, on_image)

    def report_one(name: str, held: list[Prediction]) -> CategoryReport:
        category = report_category(name, held, digests)
        if with_pages:
            category = category._replace(page=make_page(name, held, dataset, detector))
        if plots is None:
            return category
        return with_figures(category, partial(save_plots, Path(plots), name, held, dataset, detector))

    categories = _share(predictions, processes, report_one)
    if processes.is_main:
        tell(chain.from_iterable(category.oddities for category in categories))
        _warn_of_training_set(trained_on(model), {category.name for category in categories})
    report: dict[str, Any] = {
        "mean": mean_metrics(category.metrics for category in categories),
        "categories": {category.name: category.metrics for category in categories},
        "counts": {category.name: category.counts for category in categories},
        **{overlap: _overlap(record, overlap, categories) for overlap, record in records.items()},
        "settings": _settings(detector, comparison, batch_size),
        "versions": {name: version(name) for name in REPORTED_VERSIONS},
    }
    if with_rows:
        report["rows"] = list(chain.from_iterable(category.rows for category in categories))
    if with_pages:
        report["pages"] = [category.page for category in categories]
    if problems := [category.problem for category in categories if category.problem is not None]:
        report["problems"] = problems
    if processes.is_main:
        _warn(report)
    return report


def _share(
    predictions: Iterable[tuple[str, list[Prediction]]],
    processes: Processes,
    report_one: Callable[[str, list[Prediction]], CategoryReport],
) -> list[CategoryReport]:
    """The reports on all categories. Each is made by one process, in turn, from the predictions of all."""
    own: dict[int, CategoryReport] = {}
    for number, (name, mine) in enumerate(predictions):
        gathered = processes.gather(mine, number % processes.size)
        if gathered is not None:
            own[number] = report_one(name, sorted(chain.from_iterable(gathered), key=attrgetter("row")))
        del mine, gathered  # before the next category is predicted
    everyones = dict(chain.from_iterable(reports.items() for reports in processes.gather_everywhere(own)))
    return [everyones[number] for number in sorted(everyones)]


def _settings(detector: Detector, comparison: Comparison, batch_size: int) -> dict[str, Any]:
    own = detector.processor
    return {
        "size": OWN_SIZE if comparison.size is None else list(comparison.size),
        "smoothing_sigma": comparison.smoothing_sigma,
        "keep_aspect": own.keep_aspect,
        "tile": own.tile,
        "overlap": own.overlap,
        "image_size": list(detector.processor.image_size),
        "score": detector.processor.score,
        "references": 0 if detector.references is None else len(detector.references),
        "batch_size": batch_size,
        "dtype": str(detector.model.dtype).removeprefix("torch."),
        "device": detector.model.device.type,
    }


def _warn_of_training_set(name: str | None, categories: set[str]) -> None:
    """Warns if all of the categories are of the data set that the released weights were trained on."""
    known = KNOWN_DATASETS.get(name or "")
    if known is not None and categories <= set(known.categories):
        logger.warning("NOT ZERO-SHOT: these weights were trained on %s, which has these categories.", known.title)


def _overlap(
    record: frozenset[str] | str | None, overlap: str, categories: list[CategoryReport]
) -> dict[str, Any] | None:
    if not isinstance(record, frozenset):
        return None if record is None else {"unknown": record}
    met = sum(category.overlaps[overlap] for category in categories)
    return {"images": met, "of": sum(category.counts["images"] for category in categories)}


def _warn(report: dict[str, Any]) -> None:
    """Says what makes the numbers better than they are."""
    trained, calibrated = report["training_overlap"] or {}, report["calibration_overlap"] or {}
    if trained.get("images"):
        logger.warning("NOT ZERO-SHOT: the model was trained on %(images)d of the %(of)d images evaluated.", trained)
    if calibrated.get("images"):
        logger.warning("The thresholds were set on %(images)d of the %(of)d images evaluated.", calibrated)
