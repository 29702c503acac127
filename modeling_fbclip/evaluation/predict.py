"""Runs the model on a labelled data set: maps, masks and scores, one category at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from datasets import Dataset, IterableDataset

from modeling_fbclip.data.decoding import open_image, read_truth, row_name, undecoded
from modeling_fbclip.data.oddities import mask_problems
from modeling_fbclip.detection.detector import Detector, Outputs
from modeling_fbclip.detection.processes import ALONE, Processes
from modeling_fbclip.detection.run import read_ahead
from modeling_fbclip.detection.sources import Item, in_batches
from modeling_fbclip.detection.threads import THREADS
from modeling_fbclip.digests_fbclip import image_digest
from modeling_fbclip.evaluation.metrics import BoolArray, MaskArray
from modeling_fbclip.evaluation.ranking import FloatArray
from modeling_fbclip.masks_fbclip import resize_mask
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

Row = dict[str, Any]
NO_CATEGORY = "all"


@dataclass
class Truth:
    """An image's index in the data set, its name, the digest of its pixels, and the truth about it."""

    row: int
    path: str
    defect: str | None
    digest: str | None
    label: int
    mask: MaskArray | None  # (height, width); None for an anomalous image without a mask
    problems: tuple[str, ...]  # what is odd in the mask


@dataclass
class Prediction(Truth):
    """The model's result for an image, and the truth."""

    score: float
    anomaly_map: FloatArray  # (height, width), float32, smoothed


Sample = tuple[Truth, torch.Tensor]  # the tensor is the model's input


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
    Yields each category with the predictions of this process. All processes get the same categories in the same order
    and share the batches of each. Every process reads the rows of a stream, but each image is decoded once. One
    category is in memory: 1.3 MB for an image of 518 × 518 pixels.

    Args:
        detector ([`Detector`]): The model with its processor.
        evaluation_processor ([`FBCLIPProcessor`]): Has the size of maps and masks and the smoothing.
        dataset (`datasets.Dataset` or `datasets.IterableDataset`): As for [`evaluate`].
        batch_size (`int`): Images that the model gets at once, on each process.
        threads (`int`): Threads that read images.
        with_digests (`bool`, defaults to `False`): Whether to compute the digests of the images' pixels.
        processes ([`Processes`]): This process and the others.
        on_image (callable, *optional*): Called after each image.

    Raises:
        `ValueError`: There is no image, an image or label cannot be read, or a stream is not sorted by category.
    """
    columns = dataset.column_names or ("image", "label")  # some streams do not know their columns
    if missing := {"image", "label"} - set(columns):
        raise ValueError(
            f"The data set has the columns {', '.join(columns)}, but lacks {' and '.join(sorted(missing))}."
        )

    def read(item: Item) -> Sample:
        return read_sample(item.source(), item.position, detector, evaluation_processor.image_size, with_digests)

    seen = set()
    for category, items in groupby(_items(dataset), attrgetter("category")):
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
    """The rows of a data set, sorted by category. A stream keeps its order."""
    rows = undecoded(dataset)
    if isinstance(rows, IterableDataset):
        for index, row in enumerate(rows):
            yield Item(0, index, "", category_name(row.get("category")), partial(dict, row))
        return
    names = rows["category"] if "category" in rows.column_names else [None] * len(rows)
    categories = np.array(list(map(category_name, names)))
    _, first, codes = np.unique(categories, return_index=True, return_inverse=True)
    for index in np.argsort(first[codes], kind="stable").tolist():
        yield Item(0, index, "", str(categories[index]), partial(rows.__getitem__, index))


def read_sample(row: Row, index: int, detector: Detector, size: tuple[int, int], with_digest: bool = False) -> Sample:
    """The truth about a data set's row, its mask at a height and width, and the model's input for its image."""
    name = row_name(row, index)
    image = detector.processor.read_image(open_image(row["image"], name), name)
    label, truth = _label(row, name), read_truth(row, index, detector.processor.max_megapixels)
    mask = None
    problems: tuple[str, ...] = ()
    if truth is not None:
        mask = resize_mask(truth.pixels, size)[0].astype(np.int8)
        problems = tuple(mask_problems(truth, (image.height, image.width), label, size))
    elif not label:
        mask = np.zeros(size, np.int8)
    digest = image_digest(image) if with_digest else None
    return Truth(index, name, row.get("defect"), digest, label, mask, problems), detector.prepare(image)


def _predict(samples: list[Sample], detector: Detector, evaluation_processor: FBCLIPProcessor) -> Iterator[Prediction]:
    outputs = detector.run([pixel_values for _, pixel_values in samples])
    for (truth, _), output in zip(samples, outputs, strict=True):
        yield to_prediction(truth, output, detector.processor, evaluation_processor)


def to_prediction(
    truth: Truth, outputs: Outputs, processor: FBCLIPProcessor, evaluation_processor: FBCLIPProcessor
) -> Prediction:
    """The score of one image by its model's processor, and its map by that of the evaluation."""
    (result,) = evaluation_processor.post_process_anomaly_detection(outputs, with_regions=False)
    score = processor.image_scores(outputs).item()
    return Prediction(**vars(truth), score=score, anomaly_map=result["anomaly_map"].numpy())


def make_evaluation_processor(
    processor: FBCLIPProcessor, size: int | tuple[int, int], smoothing_sigma: float | None = None
) -> FBCLIPProcessor:
    """A processor of the size that maps are compared at; its Gaussian is scaled to it, unless it is given."""
    if smoothing_sigma is None:
        height = size if isinstance(size, int) else size[0]
        smoothing_sigma = processor.smoothing_sigma * height / processor.image_size[0]
    return FBCLIPProcessor(image_size=size, smoothing_sigma=smoothing_sigma)


def category_name(value: object) -> str:
    """The name of a row's category, which may have none."""
    return NO_CATEGORY if value is None else str(value)


def masked_maps(predictions: list[Prediction]) -> tuple[list[FloatArray], list[MaskArray]]:
    """Maps and masks of the images with known pixels."""
    known = [(item.anomaly_map, item.mask) for item in predictions if item.mask is not None]
    return [anomaly_map for anomaly_map, _ in known], [mask for _, mask in known]


def scores_and_labels(predictions: list[Prediction]) -> tuple[FloatArray, BoolArray]:
    """Scores of all images, and whether they are anomalous, each of shape `(num_images,)`."""
    return np.array([item.score for item in predictions]), np.array([bool(item.label) for item in predictions])


def _label(row: Row, name: str) -> int:
    if row["label"] not in (0, 1):
        raise ValueError(f"{name}: the label is {row['label']!r}, but must be 0 (normal) or 1 (anomalous).")
    return int(row["label"])
