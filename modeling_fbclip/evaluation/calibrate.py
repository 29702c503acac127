"""Thresholds from a user's own images."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from datasets import Dataset

from modeling_fbclip.data.decoding import row_name, undecoded
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.run import run_model
from modeling_fbclip.detection.sources import Item, image_of, in_batches
from modeling_fbclip.evaluation.metrics import pixel_ranking
from modeling_fbclip.evaluation.predict import Prediction, masked_maps, predict, scores_and_labels
from modeling_fbclip.evaluation.ranking import FloatArray, Ranking
from modeling_fbclip.images_fbclip import ImageSource
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

Criterion = Literal["conformal", "f1_max", "youden"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
ROUNDING = 1e-6  # a score may differ by this much with the other images of its batch
EVERYTHING = "all images"  # the name of thresholds for all categories together


class Calibration(NamedTuple):
    """Thresholds for [`FBCLIPProcessor`], and the number of images that they come from."""

    threshold: float
    pixel_threshold: float
    num_images: int


def images_needed(target_fpr: float) -> int:
    r"""
    The smallest number of normal images for a conformal threshold. With fewer images, even the highest score is not
    enough: a new image exceeds all `n` others with a probability of 1 / (n + 1).

    Raises:
        `ValueError`: The rate is not between 0 and 1.

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
    The threshold that a new normal score from the same source reaches with a probability of at most `target_fpr`. By
    split conformal prediction (Vovk et al., 2005), it is just above the ⌈(n + 1)(1 − target_fpr)⌉-th lowest of the n
    given scores. The probability is over the draw of these and of the new one.

    Args:
        scores (`np.ndarray` of shape `(num_images,)`): Scores of normal images, in `[0, 1]`.
        target_fpr (`float` in `(0, 1)`): The highest allowed false positive rate.

    Raises:
        `ValueError`: There are too few scores for the rate, or too many of them are 1.
    """
    needed = images_needed(target_fpr)
    if len(scores) < needed:
        enough = f", or a rate of {1 / (len(scores) + 1):.4g} or above" if len(scores) else ""
        raise ValueError(
            f"{len(scores)} normal images are too few for a false positive rate of {target_fpr:g}, which needs "
            f"{needed}; pass more{enough}."
        )
    # Rounded, because (99 + 1)(1 - 0.01) is above 99 in floating point.
    rank = math.ceil(round((len(scores) + 1) * (1 - target_fpr), 9))
    highest_normal = float(np.sort(scores)[rank - 1])
    if highest_normal >= 1:
        raise ValueError(
            f"More than {target_fpr:g} of the normal images have the highest possible score of 1; no threshold "
            "separates them from anomalous ones. Fine-tune the model on such images first."
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
    Sets the processor's thresholds from normal images only. At most `target_fpr` of new normal images from the same
    source are called anomalous, and at most `target_fpr` have an anomalous pixel, on average over such calibrations.
    This holds for any model and any distribution of scores.

    Args:
        model ([`FBCLIPModel`]): The model, on the device to use.
        processor ([`FBCLIPProcessor`]): Its processor. `threshold` and `pixel_threshold` are replaced; save them with
            `processor.save_pretrained`.
        normal_images (iterable of path, `PIL.Image.Image`, `np.ndarray` or `torch.Tensor`): Faultless images that the
            model was not trained on; at least 99 for a rate of 0.01.
        target_fpr (`float` in `(0, 1)`, defaults to 0.01): The highest allowed false positive rate.
        batch_size (`int`, defaults to 4): Images that the model gets at once.
        on_image (callable, *optional*): Called after each image.

    Returns:
        [`Calibration`]: The thresholds that were set.

    Raises:
        `ValueError`: There are too few images for the rate (the message has the number needed), or one cannot be
            read. The processor is then unchanged.
    """
    images_needed(target_fpr)  # refuses a wrong rate before the work
    items = (
        Item(0, index, f"images[{index}]", None, partial(_given, image)) for index, image in enumerate(normal_images)
    )
    measured = _scores_and_peaks(Detector(model, processor), items, batch_size, on_image)
    calibration = _conformal(measured, target_fpr)
    processor.threshold, processor.pixel_threshold, _ = calibration
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
    Sets the processor's thresholds from a data set: from its normal images as [`calibrate`] does, or to the best ones
    for its labels. These are moved half-way to the next lower score; of equally good ones the highest is taken. They
    need memory for the map of every image at the processor's `image_size`: 2.5 MB at 518 × 518 pixels.

    Args:
        model, processor, batch_size, on_image: As for [`calibrate`]. Without masks, labels leave `pixel_threshold`
            unchanged.
        dataset (`datasets.Dataset`): Columns as for [`evaluate`].
        criterion (`str`, defaults to `"conformal"`): `"conformal"` as [`calibrate`], `"f1_max"` for the largest F1, or
            `"youden"` for the largest recall minus false positive rate, which does not depend on the share of
            anomalous images.
        target_fpr (`float` in `(0, 1)`, defaults to 0.01): As for [`calibrate`], with `"conformal"` only.
        per_category (`bool`, defaults to `False`): Whether to set the processor's `category_thresholds` too.

    Returns:
        `dict[str, Calibration]`: The thresholds of `"all images"`, and with `per_category` those of each category.

    Raises:
        `ValueError`: There is no such `criterion`, a category has too few images for the rate or lacks a class, or an
            image cannot be read. The processor is then unchanged.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"`criterion` is {criterion!r}, but must be one of {', '.join(map(repr, CRITERIA))}.")
    detector = Detector(model, processor)
    if criterion == "conformal":
        images_needed(target_fpr)
        normal = np.flatnonzero(np.asarray(dataset["label"]) == 0)
        measured = _scores_and_peaks(detector, _items(dataset.select(normal)), batch_size, on_image)
    else:
        by_category = predict(detector, processor, dataset, batch_size, on_image=on_image)
        predictions = {item.row: item for _, some in by_category for item in some}
    found = {}
    for name, rows in _groups(dataset, per_category):
        try:
            if criterion == "conformal":
                found[name] = _conformal(measured[np.isin(normal, rows)], target_fpr)
            else:
                found[name] = _labelled([predictions[row] for row in rows], criterion, processor.pixel_threshold)
        except ValueError as error:
            raise ValueError(str(error) if name == EVERYTHING else f"{name}: {error}") from error
    processor.threshold, processor.pixel_threshold, _ = found[EVERYTHING]
    if per_category:
        processor.category_thresholds = {  # type: ignore[attr-defined]
            name: {"threshold": threshold, "pixel_threshold": pixel_threshold}
            for name, (threshold, pixel_threshold, _) in found.items()
            if name != EVERYTHING
        }
    return found


def _given(image: ImageSource) -> ImageSource:
    """The image as the caller gave it, for the processor to read."""
    return image


def _items(dataset: Dataset) -> Iterator[Item]:
    columns = [name for name in ("image", "path") if name in dataset.column_names]
    for index, row in enumerate(undecoded(dataset.select_columns(columns))):
        name = row_name(row, index)
        yield Item(0, index, name, None, partial(image_of, row, name))


def _groups(dataset: Dataset, per_category: bool) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """The rows of the whole data set, then of each category."""
    yield EVERYTHING, np.arange(len(dataset))
    if per_category and "category" in dataset.column_names:
        categories = np.array([str(name) for name in dataset["category"]])
        for name in dict.fromkeys(categories):
            yield str(name), np.flatnonzero(categories == name)


def _scores_and_peaks(
    detector: Detector, items: Iterable[Item], batch_size: int, on_image: Callable[[], object] | None
) -> FloatArray:
    """Score and highest map value of each image, as in `detect`, of shape `(num_images, 2)`."""
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
    found = _best(pixel_ranking(*masked_maps(predictions)), criterion)
    return Calibration(threshold, pixel_threshold if found is None else found, len(predictions))


def _best(ranking: Ranking, criterion: Criterion) -> float | None:
    return ranking.f1_threshold() if criterion == "f1_max" else ranking.youden_threshold()
