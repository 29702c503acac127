"""A labelled data set through the model: maps, masks and scores, one category at a time."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env
from datasets import Dataset, IterableDataset
from torch.utils.data import DataLoader

from modeling_fbclip.common.digests import image_digest
from modeling_fbclip.data.decoding import open_image, read_rgb, undecoded
from modeling_fbclip.evaluation.metrics import BoolArray
from modeling_fbclip.evaluation.ranking import FloatArray
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

Row = dict[str, Any]
Item = TypeVar("Item")
NO_CATEGORY = "all"


class Prediction(NamedTuple):
    """What the model says of one image, and the truth."""

    category: str
    path: str
    digest: str | None
    label: int
    score: float
    anomaly_map: FloatArray  # (height, width), float32, smoothed
    mask: BoolArray | None  # (height, width); None if nothing is known of an anomalous image's pixels


class Batch(NamedTuple):
    """Some rows, prepared."""

    rows: list[Prediction]  # score and map still to come
    pixel_values: torch.Tensor


class Collator(NamedTuple):
    """
    Reads rows of a data set into a batch.

    Args:
        processor: the model's own.
        evaluation_processor: makes masks of the size that maps are compared at.
        with_digests: whether images are named by their pixels.
    """

    processor: FBCLIPProcessor
    evaluation_processor: FBCLIPProcessor
    with_digests: bool

    def __call__(self, rows: list[Row]) -> Batch:
        """The rows as a batch, or ValueError naming the image that cannot be read."""
        images = [read_rgb(row["image"], _name(row)) for row in rows]
        truths = [open_image(row.get("mask"), f"the mask of {_name(row)}") for row in rows]
        masks = self.evaluation_processor(masks=truths)["mask_labels"].numpy() > 0
        predictions = [
            Prediction(
                category=_category(row),
                path=_name(row),
                digest=image_digest(image) if self.with_digests else None,
                label=_label(row),
                score=np.nan,
                anomaly_map=np.empty(0),
                mask=mask if row.get("mask") is not None or not row["label"] else None,
            )
            for row, image, mask in zip(rows, images, masks, strict=True)
        ]
        return Batch(predictions, self.processor(images=images)["pixel_values"])


def sort_by_category(dataset: Dataset | IterableDataset) -> Dataset | IterableDataset:
    """The data set with each category in one run, categories in order of first appearance; a stream as it is."""
    if isinstance(dataset, IterableDataset) or "category" not in dataset.column_names:
        return dataset
    categories = np.array([str(name) for name in dataset["category"]])
    _, first, codes = np.unique(categories, return_index=True, return_inverse=True)
    return dataset.select(np.argsort(first[codes], kind="stable"))


@torch.inference_mode()
def predict(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    evaluation_processor: FBCLIPProcessor,
    dataset: Dataset | IterableDataset,
    batch_size: int,
    num_workers: int = 0,
    with_digests: bool = False,
) -> Iterator[Prediction]:
    r"""
    Predictions of all images in order, holding one batch at a time. Launched on several processes by accelerate, each
    sees its share of the batches, which are those of a single process, and the main one yields all predictions. A
    stream is read by every process, but no image of another's batch is decoded.

    Args:
        model ([`FBCLIPModel`]), processor ([`FBCLIPProcessor`]): The model and what prepares its images.
        evaluation_processor ([`FBCLIPProcessor`]): Its size and smoothing are those of maps and masks.
        dataset (`datasets.Dataset` or `datasets.IterableDataset`): Rows of `image` and `label`; `mask`, `category` and
            `path` are optional.
        batch_size (`int`): Images that the model sees at once, on each process.
        num_workers (`int`, defaults to 0): Processes that read images; of a stream one at most, to keep it in order.
        with_digests (`bool`, defaults to `False`): Whether images are named by their pixels.

    Raises:
        `ValueError`: If there is no image, or if one or its label cannot be read.
    """
    _require_columns(dataset)
    state = join_processes()
    if state.num_processes > 1:
        model.to(state.device)  # type: ignore[arg-type]
    mine = _share(undecoded(dataset), batch_size, state.process_index, state.num_processes)
    if isinstance(dataset, IterableDataset):
        num_workers = min(num_workers, 1)
    collate = Collator(processor, evaluation_processor, with_digests)
    # A stream is a data set to PyTorch, by another class.
    batches = iter(DataLoader(mine, batch_size, collate_fn=collate, num_workers=num_workers))  # type: ignore[arg-type]
    count = 0
    while any(everyones := gather_object([_next_predictions(batches, model, processor, evaluation_processor)])):
        count += 1
        if state.is_main_process:
            yield from chain.from_iterable(everyones)
    if count == 0:
        raise ValueError("The data set holds no image.")


def join_processes() -> PartialState:
    """The processes that share the work. Unlike an `Accelerator`, it leaves the precision of a training open."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def _share(rows: Dataset | IterableDataset, batch_size: int, rank: int, size: int) -> Dataset | IterableDataset:
    """Every `size`-th batch of the rows."""
    if size == 1:
        return rows
    if isinstance(rows, IterableDataset):
        mine = partial(_is_mine, batch_size=batch_size, rank=rank, size=size)
        return rows.filter(mine, with_indices=True)
    return rows.select([index for index in range(len(rows)) if _is_mine({}, index, batch_size, rank, size)])


def _is_mine(_row: Row, index: int, batch_size: int, rank: int, size: int) -> bool:
    return index // batch_size % size == rank


def _next_predictions(
    batches: Iterator[Batch], model: FBCLIPModel, processor: FBCLIPProcessor, evaluation_processor: FBCLIPProcessor
) -> list[Prediction]:
    """Those of one batch; none at the end."""
    batch = next(batches, None)
    if batch is None:
        return []
    outputs = model(batch.pixel_values.to(model.device, model.dtype))
    results = evaluation_processor.post_process_anomaly_detection(outputs)
    scores = processor.image_scores(outputs).tolist()
    return [
        row._replace(score=score, anomaly_map=result["anomaly_map"].numpy())
        for row, score, result in zip(batch.rows, scores, results, strict=True)
    ]


def notifying(items: Iterable[Item], on_item: Callable[[], None] | None) -> Iterator[Item]:
    """The items, with a call after each."""
    for item in items:
        yield item
        if on_item is not None:
            on_item()


def by_category(predictions: Iterator[Prediction]) -> Iterator[tuple[str, list[Prediction]]]:
    """
    The predictions of each category in turn. Only one category is held: 1.3 MB an image at 518 × 518 pixels.

    Raises:
        `ValueError`: If a category comes back after another one, as in a stream that is not sorted.
    """
    seen = set()
    for category, run in groupby(predictions, attrgetter("category")):
        if category in seen:
            raise ValueError(
                f"The category {category!r} comes back after another; sort the stream by category, or load the data "
                "set without streaming."
            )
        seen.add(category)
        yield category, list(run)


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


def _category(row: Row) -> str:
    category = row.get("category")
    return NO_CATEGORY if category is None else str(category)


def _label(row: Row) -> int:
    if row["label"] not in (0, 1):
        raise ValueError(f"{_name(row)}: the label is {row['label']!r}, but must be 0 (normal) or 1 (anomalous).")
    return int(row["label"])
