"""Runs the model on a labelled data set: maps, masks and scores, one category at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from datasets import Dataset, IterableDataset

from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.data.decoding import open_image, read_truth, row_name, undecoded
from modeling_fbclip.data.oddities import mask_problems
from modeling_fbclip.detection.detector import Detector, Outputs, Prepared
from modeling_fbclip.detection.processes import ALONE, Processes
from modeling_fbclip.detection.run import read_ahead
from modeling_fbclip.detection.sources import Item, in_batches
from modeling_fbclip.detection.threads import THREADS
from modeling_fbclip.digests_fbclip import image_digest
from modeling_fbclip.evaluation.metrics import BoolArray, MaskArray
from modeling_fbclip.evaluation.ranking import FloatArray
from modeling_fbclip.maps_fbclip import resize_maps, smooth_maps
from modeling_fbclip.masks_fbclip import resize_mask
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.results_fbclip import finite

Row = dict[str, Any]
NO_CATEGORY = "all"
EVALUATION_SIZE = 518
OWN_SIZE: Literal["own"] = "own"
CompareSize = int | tuple[int, int] | Literal["own"]  # height and width that maps and masks are compared at


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
    """The model's result for an image, the mode in which the model saw it, and the truth."""

    mode: str
    score: float
    anomaly_map: FloatArray  # (height, width), float32, smoothed


Sample = tuple[Truth, Prepared]


class Comparison(NamedTuple):
    """
    Where maps and masks are compared.

    Args:
        processor: the model's.
        size: height and width; `None` for each image's own.
        smoothing_sigma: of the Gaussian in pixels at `size`, where images are seen whole and squashed (paper).
    """

    processor: FBCLIPProcessor
    size: tuple[int, int] | None
    smoothing_sigma: float

    @classmethod
    def of(
        cls, processor: FBCLIPProcessor, size: CompareSize | None, smoothing_sigma: float | None = None
    ) -> "Comparison":
        """
        The Gaussian is scaled to the size, unless it is given. The default size is the paper's, with tiles the own.

        Raises:
            ArgumentError: a Gaussian is given, but the processor's own applies.
        """
        if size is None:
            size = EVALUATION_SIZE if processor.tile is None else OWN_SIZE
        if smoothing_sigma is not None and (size == OWN_SIZE or processor.keep_aspect or processor.tile is not None):
            raise ArgumentError("smoothing_sigma", "is for images that are seen whole and squashed, at one size")
        if isinstance(size, str):
            return cls(processor, None, processor.smoothing_sigma)
        height, width = (size, size) if isinstance(size, int) else size
        if smoothing_sigma is None:
            smoothing_sigma = processor.smoothing_sigma * height / processor.image_size[0]
        return cls(processor, (height, width), smoothing_sigma)

    def map_of(self, outputs: Sequence[Outputs], image_size: tuple[int, int]) -> torch.Tensor:
        """The map of an image of a height and width, at the size of the comparison."""
        if self.size is not None and len(outputs) == 1 and not self.processor.keep_aspect:
            enlarged = resize_maps(finite(outputs[0]["anomaly_maps"]), self.size)
            return smooth_maps(enlarged, self.smoothing_sigma)[0].clamp_(0, 1)
        own = self.processor.map_of_views(outputs, image_size)
        return own if self.size in (None, image_size) else resize_maps(own[None], self.size)[0]


def predict(
    detector: Detector,
    comparison: Comparison,
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
        comparison ([`Comparison`]): Has the size of maps and masks.
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
        return read_sample(item.source(), item.position, detector, comparison.size, with_digests)

    seen = set()
    for category, items in groupby(_items(dataset), attrgetter("category")):
        if category in seen:
            raise ValueError(
                f"The category {category!r} comes back after another; sort the stream by category, or load the data "
                "set without streaming."
            )
        seen.add(category)
        found = []
        for _, samples in read_ahead(processes.share_lazily(in_batches(items, batch_size)), read, threads):
            for prediction in _predict(list(samples), detector, comparison):
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


def read_sample(
    row: Row, index: int, detector: Detector, size: tuple[int, int] | None, with_digest: bool = False
) -> Sample:
    """The truth about a data set's row, its mask at a height and width or at the image's own, and the image."""
    name = row_name(row, index)
    image = detector.processor.read_image(open_image(row["image"], name), name)
    label, truth = _label(row, name), read_truth(row, index, detector.processor.max_megapixels)
    own_size = image.height, image.width
    mask, size = None, size or own_size
    problems: tuple[str, ...] = ()
    if truth is not None:
        mask = resize_mask(truth.pixels, size)[0].astype(np.int8)
        problems = tuple(mask_problems(truth, own_size, label, size))
    elif not label:
        mask = np.zeros(size, np.int8)
    digest = image_digest(image) if with_digest else None
    return Truth(index, name, row.get("defect"), digest, label, mask, problems), detector.prepare(image)


def _predict(samples: list[Sample], detector: Detector, comparison: Comparison) -> Iterator[Prediction]:
    for (truth, prepared), outputs in zip(samples, detector.run([image for _, image in samples]), strict=True):
        yield to_prediction(truth, outputs, prepared.size, comparison)


def to_prediction(
    truth: Truth, outputs: Sequence[Outputs], image_size: tuple[int, int], comparison: Comparison
) -> Prediction:
    """The score and the map of an image of a height and width, from the outputs of its views."""
    processor = comparison.processor
    return Prediction(
        **vars(truth),
        mode=processor.mode_of(outputs, image_size),
        score=processor.score_of_views(outputs, image_size),
        anomaly_map=comparison.map_of(outputs, image_size).numpy(),
    )


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
