"""A labelled data set through the model: maps, masks and scores, one category at a time."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset, IterableDataset

from modeling_fbclip.common.digests import image_digest
from modeling_fbclip.data.decoding import open_image, read_rgb, undecoded
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.processes import ALONE, Processes
from modeling_fbclip.detection.run import read_ahead
from modeling_fbclip.detection.sources import Item, in_batches
from modeling_fbclip.detection.threads import THREADS
from modeling_fbclip.evaluation.metrics import BoolArray
from modeling_fbclip.evaluation.ranking import FloatArray
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

Row = dict[str, Any]
NO_CATEGORY = "all"


class Sample(NamedTuple):
    """An image read and prepared, and the truth about it."""

    row: int
    path: str
    digest: str | None
    label: int
    pixel_values: torch.Tensor
    mask: BoolArray | None


class Prediction(NamedTuple):
    """What the model says of one image, and the truth. `row` is its place in the data set."""

    row: int
    path: str
    digest: str | None
    label: int
    score: float
    anomaly_map: FloatArray  # (height, width), float32, smoothed
    mask: BoolArray | None  # (height, width); None if nothing is known of an anomalous image's pixels


def predict(
    detector: Detector,
    evaluation_processor: FBCLIPProcessor,
    dataset: Dataset | IterableDataset,
    batch_size: int,
    threads: int = THREADS,
    with_digests: bool = False,
    processes: Processes = ALONE,
    on_image: Callable[[], object] | None = None,
) -> Iterator[tuple[str, list[Prediction]]]:
    r"""
    The predictions of each category in turn, those of this process: every so many batches of the category. All
    processes see the same categories in the same order. A stream is read by every process, but each image is decoded
    by one. One category is held, 1.3 MB an image at 518 × 518 pixels.

    Args:
        detector ([`Detector`]): The model with its processor.
        evaluation_processor ([`FBCLIPProcessor`]): Its size and smoothing are those of maps and masks.
        dataset (`datasets.Dataset` or `datasets.IterableDataset`): Rows of `image` and `label`; `mask`, `category` and
            `path` are optional. A stream must have each category in one run.
        batch_size (`int`): Images that the model sees at once, on each process.
        threads (`int`): Threads that read images ahead.
        with_digests (`bool`, defaults to `False`): Whether images are named by their pixels.
        processes ([`Processes`]): This process and the others.
        on_image (callable, *optional*): Called after each image.

    Raises:
        `ValueError`: If there is no image, one or its label cannot be read, or a stream is not sorted by category.
    """
    _require_columns(dataset)
    read = partial(_read, detector=detector, evaluation_processor=evaluation_processor, with_digests=with_digests)
    seen = set()
    for category, items in groupby(_items(dataset), lambda item: str(item.category)):
        if category in seen:
            raise ValueError(
                f"The category {category!r} comes back after another; sort the stream by category, or load the data "
                "set without streaming."
            )
        seen.add(category)
        found = []
        for samples in read_ahead(processes.share_lazily(in_batches(items, batch_size)), read, threads):
            for prediction in _predict(samples, detector, evaluation_processor):
                found.append(prediction)
                if on_image is not None:
                    on_image()
        yield category, found
    if not seen:
        raise ValueError("The data set holds no image.")


def _items(dataset: Dataset | IterableDataset) -> Iterator[Item]:
    """The rows of a data set, those of a category one after the other; the rows of a stream in their order."""
    rows = undecoded(dataset)
    if isinstance(rows, IterableDataset):
        for index, row in enumerate(rows):
            yield Item(0, index, "", _category(row.get("category")), partial(dict, row))
        return
    names = rows["category"] if "category" in rows.column_names else [None] * len(rows)
    categories = np.array([_category(name) for name in names])
    _, first, codes = np.unique(categories, return_index=True, return_inverse=True)
    for index in np.argsort(first[codes], kind="stable").tolist():
        yield Item(0, index, "", str(categories[index]), partial(rows.__getitem__, index))


def _read(item: Item, detector: Detector, evaluation_processor: FBCLIPProcessor, with_digests: bool) -> Sample:
    """An item's sample, or ValueError naming the image that cannot be read."""
    row = item.read()
    name = _name(row)
    image = read_rgb(row["image"], name)
    truth = open_image(row.get("mask"), f"the mask of {name}")
    is_known = truth is not None or not row["label"]
    mask = evaluation_processor(masks=[truth])["mask_labels"][0].numpy() > 0 if is_known else None
    digest = image_digest(image) if with_digests else None
    return Sample(item.position, name, digest, _label(row), detector.prepare(image), mask)


def _predict(samples: list[Sample], detector: Detector, evaluation_processor: FBCLIPProcessor) -> Iterator[Prediction]:
    outputs = detector.run([sample.pixel_values for sample in samples])
    for (row, path, digest, label, _, mask), output in zip(samples, outputs, strict=True):
        score = detector.processor.image_scores(output).item()
        (result,) = evaluation_processor.post_process_anomaly_detection(output)
        yield Prediction(row, path, digest, label, score, result["anomaly_map"].numpy(), mask)


def masked_maps(predictions: list[Prediction]) -> tuple[list[FloatArray], list[BoolArray]]:
    """Maps and masks of the images whose pixels are known."""
    known = [(item.anomaly_map, item.mask) for item in predictions if item.mask is not None]
    return [anomaly_map for anomaly_map, _ in known], [mask for _, mask in known]


def scores_and_labels(predictions: list[Prediction]) -> tuple[FloatArray, BoolArray]:
    """Scores of all images, and whether they are anomalous, each of shape `(num_images,)`."""
    return np.array([item.score for item in predictions]), np.array([bool(item.label) for item in predictions])


def _require_columns(dataset: Dataset | IterableDataset) -> None:
    columns = dataset.column_names  # None for a stream that does not know them
    if columns is not None and (missing := {"image", "label"} - set(columns)):
        raise ValueError(
            f"The data set has the columns {', '.join(columns)}, but lacks {' and '.join(sorted(missing))}."
        )


def _name(row: Row) -> str:
    image = row["image"]
    file = image["path"] if isinstance(image, dict) else getattr(image, "filename", None)
    return str(row.get("path") or file or "image")


def _category(name: object) -> str:
    return NO_CATEGORY if name is None else str(name)


def _label(row: Row) -> int:
    if row["label"] not in (0, 1):
        raise ValueError(f"{_name(row)}: the label is {row['label']!r}, but must be 0 (normal) or 1 (anomalous).")
    return int(row["label"])
