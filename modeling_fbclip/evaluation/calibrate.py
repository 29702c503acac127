"""Thresholds from a user's own images."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from datasets import Dataset

from modeling_fbclip.data.decoding import row_name, undecoded
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.run import run_model
from modeling_fbclip.detection.sources import Item, image_of, in_batches
from modeling_fbclip.digests_fbclip import image_digest
from modeling_fbclip.evaluation.conformal import conformal_threshold, images_needed, require_enough
from modeling_fbclip.evaluation.metrics import pixel_ranking
from modeling_fbclip.evaluation.predict import (
    OWN_SIZE,
    Comparison,
    Prediction,
    masked_maps,
    predict,
    scores_and_labels,
)
from modeling_fbclip.evaluation.ranking import Ranking
from modeling_fbclip.images_fbclip import ImageSource
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.references_fbclip import FBCLIPReferences

Criterion = Literal["conformal", "f1_max", "youden"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
EVERYTHING = "all images"  # the name of thresholds for all categories together


class Calibration(NamedTuple):
    """Thresholds for [`FBCLIPProcessor`], and the number of images that they come from."""

    threshold: float
    pixel_threshold: float
    num_images: int


class Measured(NamedTuple):
    """Score and highest map value of a normal image, the mode it was seen in, and the digest of its pixels."""

    mode: str
    score: float
    peak: float
    digest: str


def calibrate(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    normal_images: Iterable[ImageSource],
    target_fpr: float = 0.01,
    batch_size: int = 4,
    on_image: Callable[[], object] | None = None,
    references: FBCLIPReferences | None = None,
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
        references ([`FBCLIPReferences`], *optional*): What the images are compared with. They should not be among
            them.

    Returns:
        [`Calibration`]: The thresholds that were set.

    Raises:
        `ValueError`: There are too few images for the rate (the message has the number needed), or one cannot be
            read. The processor is then unchanged.
    """
    images_needed(target_fpr)  # refuses a wrong rate before the work
    if isinstance(normal_images, Sized):
        require_enough(len(normal_images), target_fpr)
    items = (
        Item(0, index, f"images[{index}]", None, partial(_given, image)) for index, image in enumerate(normal_images)
    )
    detector = Detector(model, processor, references=references)
    measured = _measure(detector, items, batch_size, on_image)
    mode, calibration = _one_mode(measured), _conformal(measured, target_fpr)
    processor.set_thresholds(calibration.threshold, calibration.pixel_threshold, mode, references is not None)
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
    digests: set[str] | None = None,
    references: FBCLIPReferences | None = None,
) -> dict[str, Calibration]:
    r"""
    Sets the processor's thresholds from a data set: from its normal images as [`calibrate`] does, or to the best ones
    for its labels. These are moved half-way to the next lower score; of equally good ones the highest is taken. They
    need memory for the map of every image at the processor's `image_size`: 2.5 MB at 518 × 518 pixels. Where images
    keep their aspect or have tiles, it is their own size.

    Args:
        model, processor, batch_size, on_image, references: As for [`calibrate`]. Without masks, labels leave
            `pixel_threshold` unchanged.
        dataset (`datasets.Dataset`): Columns as for [`evaluate`].
        criterion (`str`, defaults to `"conformal"`): `"conformal"` as [`calibrate`], `"f1_max"` for the largest F1, or
            `"youden"` for the largest recall minus false positive rate, which does not depend on the share of
            anomalous images.
        target_fpr (`float` in `(0, 1)`, defaults to 0.01): As for [`calibrate`], with `"conformal"` only.
        per_category (`bool`, defaults to `False`): Whether to set the processor's `category_thresholds` too.
        digests (`set[str]`, *optional*): Gets the digests of the images' pixels, for the record of the thresholds.

    Returns:
        `dict[str, Calibration]`: The thresholds of `"all images"`, and with `per_category` those of each category.

    Raises:
        `ValueError`: There is no such `criterion`, a category has too few images for the rate or lacks a class, or an
            image cannot be read. The processor is then unchanged.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"`criterion` is {criterion!r}, but must be one of {', '.join(map(repr, CRITERIA))}.")
    detector, labels = Detector(model, processor, references=references), np.asarray(dataset["label"])
    groups = dict(_groups(dataset, per_category))
    for name, rows in groups.items():
        with _naming(name):
            _require_countable(labels[rows], criterion, target_fpr)
    if criterion == "conformal":
        normal = np.flatnonzero(labels == 0)
        measured = dict(
            zip(normal, _measure(detector, _items(dataset.select(normal)), batch_size, on_image), strict=True)
        )
    else:
        is_squashed = processor.tile is None and not processor.keep_aspect
        comparison = Comparison.of(processor, processor.image_size if is_squashed else OWN_SIZE)
        by_category = predict(detector, comparison, dataset, batch_size, with_digests=True, on_image=on_image)
        predictions = {item.row: item for _, some in by_category for item in some}
    found = {}
    for name, rows in groups.items():
        with _naming(name):
            if criterion == "conformal":
                found[name] = _conformal([measured[row] for row in rows if row in measured], target_fpr)
            else:
                found[name] = _labelled([predictions[row] for row in rows], criterion, processor.pixel_threshold)
    seen = measured if criterion == "conformal" else predictions
    mode, general = _one_mode(seen.values()), found[EVERYTHING]
    processor.set_thresholds(general.threshold, general.pixel_threshold, mode, references is not None)
    if digests is not None:
        digests.update(str(one.digest) for one in seen.values())
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


@contextmanager
def _naming(group: str) -> Iterator[None]:
    """Says which category a ValueError is about."""
    try:
        yield
    except ValueError as error:
        if group == EVERYTHING:
            raise
        raise ValueError(f"{group}: {error}") from error


def _require_countable(labels: npt.NDArray[np.integer], criterion: Criterion, target_fpr: float) -> None:
    """Raises ValueError if there are too few images for the criterion, before one is scored."""
    anomalous = int((labels == 1).sum())
    normal = len(labels) - anomalous
    if criterion == "conformal":
        require_enough(normal, target_fpr)
    elif not (anomalous and normal):
        raise ValueError(
            f"Got {anomalous} anomalous and {normal} normal images, but {criterion!r} needs both; 'conformal' needs "
            "normal ones only."
        )


def _measure(
    detector: Detector, items: Iterable[Item], batch_size: int, on_image: Callable[[], object] | None
) -> list[Measured]:
    """Scores each image as in `detect`."""
    measured, processor = [], detector.processor
    for item, picture, outputs, error, mode in run_model(in_batches(items, batch_size), detector, batch_size):
        if picture is None or outputs is None or mode is None:
            raise ValueError(f"{item.path}: {error}")
        size = picture.height, picture.width
        score, anomaly_map = processor.score_and_map(outputs, size)
        measured.append(Measured(mode, score, float(anomaly_map.max()), image_digest(picture)))
        if on_image is not None:
            on_image()
    return measured


def _one_mode(seen: Iterable[Measured | Prediction]) -> str:
    """The mode that all images were seen in, as thresholds hold for one only."""
    counts = Counter(one.mode for one in seen)
    if len(counts) > 1:
        found = " and ".join(f"{count} as {mode}" for mode, count in counts.items())
        raise ValueError(
            f"The images are seen in {len(counts)} ways, {found}; set the thresholds from images of one size, or pass "
            "the size of the `tile`s."
        )
    return next(iter(counts))


def _conformal(measured: list[Measured], target_fpr: float) -> Calibration:
    threshold = conformal_threshold(np.array([one.score for one in measured]), target_fpr)
    pixel_threshold = conformal_threshold(np.array([one.peak for one in measured]), target_fpr)
    return Calibration(threshold, pixel_threshold, len(measured))


def _labelled(predictions: list[Prediction], criterion: Criterion, pixel_threshold: float) -> Calibration:
    scores, labels = scores_and_labels(predictions)
    threshold = _best(Ranking(scores[~labels], scores[labels]), criterion)
    assert threshold is not None  # there are images of both classes
    found = _best(pixel_ranking(*masked_maps(predictions)), criterion)
    return Calibration(threshold, pixel_threshold if found is None else found, len(predictions))


def _best(ranking: Ranking, criterion: Criterion) -> float | None:
    return ranking.f1_threshold() if criterion == "f1_max" else ranking.youden_threshold()
