"""Thresholds from a user's own images, so that a score becomes an answer to "is this part good?"."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from datasets import Dataset

from modeling_fbclip.data.decoding import undecoded
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.run import run_model
from modeling_fbclip.detection.sources import Item, in_batches, read_picture
from modeling_fbclip.evaluation.metrics import pixel_ranking
from modeling_fbclip.evaluation.predict import Prediction, masked_maps, predict, scores_and_labels
from modeling_fbclip.evaluation.ranking import FloatArray, Ranking
from modeling_fbclip.images_fbclip import ImageSource, load_rgb_image
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

Criterion = Literal["conformal", "f1_max", "youden"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
ROUNDING = 1e-6  # by which the score of an image may change with the images beside it in a batch
EVERYTHING = "all images"  # what thresholds of all categories together go by


class Calibration(NamedTuple):
    """Thresholds, as [`FBCLIPProcessor`] takes them, and the number of images that they rest on."""

    threshold: float
    pixel_threshold: float
    num_images: int


def images_needed(target_fpr: float) -> int:
    r"""
    The least number of normal images from which a conformal threshold for a false positive rate follows: with fewer,
    even the highest score of all is no bound, since a new image is higher than `n` others in one of `n + 1` cases.

    Raises:
        `ValueError`: If the rate is not between 0 and 1.

    Example:

    ```python
    >>> images_needed(0.01)
    99
    ```"""
    if not 0 < target_fpr < 1:
        raise ValueError(f"`target_fpr` is {target_fpr}, but must be above 0 and below 1.")
    return math.ceil(round(1 / target_fpr, 9)) - 1


def conformal_threshold(scores: FloatArray, target_fpr: float) -> float:
    r"""
    The threshold that a new normal score reaches with a probability of `target_fpr` at most, if it comes from the same
    source as the given ones: split conformal prediction (Vovk et al., 2005), just above the
    ⌈(n + 1)(1 − target_fpr)⌉-th lowest of n scores. The probability is over the draw of both.

    Args:
        scores (`np.ndarray` of shape `(num_images,)`): Scores of normal images, in `[0, 1]`.
        target_fpr (`float` in `(0, 1)`): The rate to keep.

    Raises:
        `ValueError`: If there are too few scores for the rate, or too many of them are at the very top.
    """
    needed = images_needed(target_fpr)
    if len(scores) < needed:
        enough = f", or a rate of {1 / (len(scores) + 1):.4g} or above" if len(scores) else ""
        raise ValueError(
            f"{len(scores)} normal images are too few for a false positive rate of {target_fpr:g}, which needs "
            f"{needed}; pass more{enough}."
        )
    # Rounded, since (99 + 1)(1 - 0.01) is above 99 in floating point.
    rank = math.ceil(round((len(scores) + 1) * (1 - target_fpr), 9))
    highest_normal = float(np.sort(scores)[rank - 1])
    if highest_normal >= 1:
        raise ValueError(
            f"More than {target_fpr:g} of the normal images have the highest possible score of 1; no threshold parts "
            "them from anomalous ones. Fine-tune the model on such images first."
        )
    return min(highest_normal + ROUNDING, 1.0)


def calibrate(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    normal_images: Iterable[ImageSource],
    target_fpr: float = 0.01,
    batch_size: int = 4,
    on_image: Callable[[], object] | None = None,
) -> Calibration:
    r"""
    Sets the processor's thresholds from normal images only: of new normal images from the same source, no more than
    `target_fpr` are called anomalous, and no more show a single anomalous pixel, each on average over such
    calibrations. This holds for any model and any distribution of scores.

    Args:
        model ([`FBCLIPModel`]): The model, on the device to use.
        processor ([`FBCLIPProcessor`]): Its processor; `threshold` and `pixel_threshold` are replaced. Keep them with
            `processor.save_pretrained`.
        normal_images (iterable of path, `PIL.Image.Image`, `np.ndarray` or `torch.Tensor`): Faultless images, none of
            which the model was trained on; 99 at least for a rate of 0.01.
        target_fpr (`float` in `(0, 1)`, defaults to 0.01): The rate to keep.
        batch_size (`int`, defaults to 4): Images that the model sees at once.
        on_image (callable, *optional*): Called after each image.

    Returns:
        [`Calibration`]: The thresholds that were set.

    Raises:
        `ValueError`: If there are too few images for the rate, saying how many are needed, or one cannot be read; the
            processor is then as it was.
    """
    images_needed(target_fpr)  # a wrong rate is known before the work
    items = (
        Item(0, index, f"images[{index}]", None, partial(load_rgb_image, image, f"images[{index}]"))
        for index, image in enumerate(normal_images)
    )
    measured = _scores_and_peaks(Detector(model, processor), items, batch_size, on_image)
    calibration = _conformal(measured, target_fpr)
    processor.threshold, processor.pixel_threshold = calibration.threshold, calibration.pixel_threshold
    return calibration


def calibrate_dataset(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    dataset: Dataset,
    criterion: Criterion = "conformal",
    target_fpr: float = 0.01,
    per_category: bool = False,
    batch_size: int = 4,
    on_image: Callable[[], object] | None = None,
) -> dict[str, Calibration]:
    r"""
    Sets the processor's thresholds from a data set: as [`calibrate`] from its normal images, or to those that do best
    on its labels. The latter are of the images' scores, and of the pixels of those whose masks are known; of equally
    good ones the highest is taken, half-way to the next lower score. They hold the map of every image at the
    processor's `image_size`, 2.5 MB at 518 × 518 pixels.

    Args:
        model ([`FBCLIPModel`]): The model, on the device to use.
        processor ([`FBCLIPProcessor`]): Its processor; `threshold` and `pixel_threshold` are replaced, the latter not
            by labels without masks. Keep them with `processor.save_pretrained`.
        dataset (`datasets.Dataset`): Columns as for [`evaluate`].
        criterion (`str`, defaults to `"conformal"`): `"conformal"` as [`calibrate`], `"f1_max"` for the largest F1, or
            `"youden"` for the largest recall minus false positive rate, which does not depend on how many images are
            anomalous.
        target_fpr (`float` in `(0, 1)`, defaults to 0.01): The rate to keep, with `"conformal"`.
        per_category (`bool`, defaults to `False`): Whether each category gets thresholds too, as the processor's
            `category_thresholds`.
        batch_size (`int`, defaults to 4): Images that the model sees at once.
        on_image (callable, *optional*): Called after each image.

    Returns:
        `dict[str, Calibration]`: Under `"all images"` those of all images, and by category if wanted.

    Raises:
        `ValueError`: If `criterion` is another, a category has too few images for the rate or lacks a class, or an
            image cannot be read; the processor is then as it was.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"`criterion` is {criterion!r}, but must be one of {', '.join(map(repr, CRITERIA))}.")
    found = {}
    detector = Detector(model, processor)
    if criterion == "conformal":
        images_needed(target_fpr)
        normal = np.flatnonzero(np.asarray(dataset["label"]) == 0)
        measured = _scores_and_peaks(detector, _items(dataset.select(normal)), batch_size, on_image)
        for name, rows in _groups(dataset, per_category):
            with _naming(name):
                found[name] = _conformal(measured[np.isin(normal, rows)], target_fpr)
    else:
        by_category = predict(detector, processor, dataset, batch_size, on_image=on_image)
        predictions = {item.row: item for _, some in by_category for item in some}
        for name, rows in _groups(dataset, per_category):
            with _naming(name):
                found[name] = _labelled([predictions[row] for row in rows], criterion, processor.pixel_threshold)
    processor.threshold, processor.pixel_threshold = found[EVERYTHING].threshold, found[EVERYTHING].pixel_threshold
    if per_category:
        processor.category_thresholds = {  # type: ignore[attr-defined]
            name: {"threshold": calibration.threshold, "pixel_threshold": calibration.pixel_threshold}
            for name, calibration in found.items()
            if name != EVERYTHING
        }
    return found


def _items(dataset: Dataset) -> Iterator[Item]:
    """The images of a data set, one by one."""
    columns = [name for name in ("image", "path") if name in dataset.column_names]
    for index, row in enumerate(undecoded(dataset.select_columns(columns))):
        name = row.get("path") or f"image {index}"
        yield Item(0, index, name, None, partial(read_picture, row, name))


def _groups(dataset: Dataset, per_category: bool) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """The rows of the whole data set, and of each category if wanted."""
    yield EVERYTHING, np.arange(len(dataset))
    if per_category and "category" in dataset.column_names:
        categories = np.array([str(name) for name in dataset["category"]])
        for name in dict.fromkeys(categories):
            yield str(name), np.flatnonzero(categories == name)


@contextmanager
def _naming(category: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error) if category == EVERYTHING else f"{category}: {error}") from error


def _scores_and_peaks(
    detector: Detector, items: Iterable[Item], batch_size: int, on_image: Callable[[], object] | None
) -> FloatArray:
    """Score and highest map value of each image, just as `detect` sees them, of shape `(num_images, 2)`."""
    pairs = []
    for item, picture, outputs, error in run_model(in_batches(items, batch_size), detector):
        if picture is None or outputs is None:
            raise ValueError(f"{item.path}: {error}")
        result = detector.finish(outputs, (picture.height, picture.width))
        pairs.append((result["score"], float(result["anomaly_map"].max())))
        if on_image is not None:
            on_image()
    return np.array(pairs).reshape(-1, 2)


def _conformal(scores_and_peaks: FloatArray, target_fpr: float) -> Calibration:
    threshold, pixel_threshold = (conformal_threshold(values, target_fpr) for values in scores_and_peaks.T)
    return Calibration(threshold, pixel_threshold, len(scores_and_peaks))


def _labelled(predictions: list[Prediction], criterion: Criterion, pixel_threshold: float) -> Calibration:
    scores, labels = scores_and_labels(predictions)
    threshold = _best(Ranking(scores[~labels], scores[labels]), criterion)
    if threshold is None:
        raise ValueError(
            f"Got {labels.sum()} anomalous and {(~labels).sum()} normal images, but {criterion!r} needs both; "
            "'conformal' needs normal ones only."
        )
    best_pixel_threshold = _best(pixel_ranking(*masked_maps(predictions)), criterion)
    if best_pixel_threshold is not None:
        pixel_threshold = best_pixel_threshold
    return Calibration(threshold, pixel_threshold, len(predictions))


def _best(ranking: Ranking, criterion: Criterion) -> float | None:
    return ranking.f1_threshold() if criterion == "f1_max" else ranking.youden_threshold()
