"""The metrics of anomaly detection and localisation."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from modeling_fbclip.evaluation.aupimo import aupimo
from modeling_fbclip.evaluation.aupro import RegionOverlap
from modeling_fbclip.evaluation.ranking import FloatArray, Ranking
from modeling_fbclip.masks_fbclip import UNKNOWN

Metrics = dict[str, float | None]
BoolArray = npt.NDArray[np.bool_]
MaskArray = npt.NDArray[np.int8]  # 0 normal, 1 anomalous, -100 unknown

METRIC_NAMES = (
    "image_auroc",
    "image_ap",
    "image_f1_max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1_max",
    "pixel_aupro",
    "pixel_aupro_published",
    "pixel_aupimo",
)


def compute_metrics(
    anomaly_maps: Tensor | npt.ArrayLike,
    masks: Tensor | npt.ArrayLike,
    image_scores: Tensor | npt.ArrayLike,
    labels: Tensor | npt.ArrayLike,
) -> Metrics:
    r"""
    All metrics of one category. If not every image has a mask, there are fewer maps than scores, or none.

    It needs memory for a copy of the maps, 150 bytes an anomalous pixel, and time to sort them: two seconds for 100
    maps of 518 × 518 on one core.

    Args:
        anomaly_maps (`torch.Tensor` or `np.ndarray` of shape `(num_maps, height, width)`, or a list of maps):
            Score of each pixel; higher is more anomalous.
        masks (as `anomaly_maps`): Ground truth, anomalous above 0. Pixels of -100 and NaN are unknown, and left out.
        image_scores (`torch.Tensor` or `np.ndarray` of shape `(num_images,)`): Score of each image.
        labels (`torch.Tensor` or `np.ndarray` of shape `(num_images,)`): 1 if anomalous, else 0.

    Returns:
        `dict[str, float | None]`: Numbers in `[0, 1]`, or `None` if undefined, as without samples of both classes.
        `image_auroc`, `image_ap` (average precision) and `image_f1_max` (over all thresholds); `pixel_auroc`,
        `pixel_ap` and `pixel_f1_max` over all pixels pooled; `pixel_aupro` (exact, up to a false positive rate of
        0.3), `pixel_aupro_published` (200 thresholds, rescaled, as in FB-CLIP's tables) and `pixel_aupimo`.

    Raises:
        `ValueError`: Shapes do not match, a label is not 0 or 1, or a number is not finite.

    Example:

    ```python
    >>> from modeling_fbclip.evaluation import compute_metrics

    >>> metrics = compute_metrics([[[0.9, 0.1]]], [[[1, 0]]], image_scores=[0.8, 0.3], labels=[1, 0])
    >>> metrics["image_auroc"], metrics["pixel_aupro"], metrics["pixel_aupimo"]
    (1.0, 1.0, None)
    ```"""
    scores, is_anomalous = _images(image_scores, labels)
    maps, truths = _maps(anomaly_maps, masks)
    images = Ranking(scores[~is_anomalous], scores[is_anomalous])
    pixels = pixel_ranking(maps, truths)
    regions = RegionOverlap(maps, truths, pixels.normal)
    values = (
        images.auroc(),
        images.average_precision(),
        images.f1_max(),
        pixels.auroc(),
        pixels.average_precision(),
        pixels.f1_max(),
        regions.aupro(),
        regions.aupro_published(),
        aupimo(maps, truths),
    )
    return dict(zip(METRIC_NAMES, values, strict=True))


def mean_metrics(categories: Iterable[Metrics]) -> Metrics:
    """The mean of each metric over the categories that define it, `None` if no category does."""
    listed = list(categories)
    means: Metrics = {}
    for name in METRIC_NAMES:
        defined = [value for metrics in listed if (value := metrics[name]) is not None]
        means[name] = float(np.mean(defined)) if defined else None
    return means


def pixel_ranking(maps: Sequence[FloatArray], masks: Sequence[MaskArray]) -> Ranking:
    """The known pixels of all maps pooled: the one copy of the maps."""
    return Ranking(_pooled(maps, masks, 0), _pooled(maps, masks, 1))


def _pooled(maps: Sequence[FloatArray], masks: Sequence[MaskArray], kind: int) -> FloatArray:
    """The pixels of one class, in an array that is made once: joining parts would hold them twice."""
    counts = [int(np.count_nonzero(mask == kind)) for mask in masks]
    pixels = np.empty(sum(counts), dtype=np.result_type(np.float16, *{anomaly_map.dtype for anomaly_map in maps}))
    start = 0
    for anomaly_map, mask, count in zip(maps, masks, counts, strict=True):
        pixels[start : start + count] = anomaly_map[mask == kind]
        start += count
    return pixels


def _images(image_scores: Tensor | npt.ArrayLike, labels: Tensor | npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
    scores, classes = _array(image_scores), _array(labels)
    if scores.ndim != 1 or scores.shape != classes.shape:
        raise ValueError(
            f"`image_scores` and `labels` must be of shape (num_images,), but are {scores.shape} and {classes.shape}."
        )
    if not np.isfinite(scores).all():
        raise ValueError("`image_scores` must be finite.")
    if not np.isin(classes, (0, 1)).all():
        raise ValueError(f"`labels` must be 0 or 1, but hold {np.unique(classes)}.")
    return scores, classes.astype(bool)


def _maps(
    anomaly_maps: Tensor | npt.ArrayLike, masks: Tensor | npt.ArrayLike
) -> tuple[list[FloatArray], list[MaskArray]]:
    maps, truths = (
        [_array(value) for value in (values if isinstance(values, list | tuple) else _array(values))]
        for values in (anomaly_maps, masks)
    )
    truths = [mask if mask.dtype in (bool, np.int8) else _known(mask) for mask in truths]
    if len(maps) != len(truths):
        raise ValueError(f"Got {len(maps)} `anomaly_maps`, but {len(truths)} `masks`.")
    for index, (anomaly_map, mask) in enumerate(zip(maps, truths, strict=True)):
        if anomaly_map.ndim != 2 or anomaly_map.shape != mask.shape:
            raise ValueError(
                f"anomaly_maps[{index}] and masks[{index}] must both be of shape (height, width), but are "
                f"{anomaly_map.shape} and {mask.shape}."
            )
        if not np.isfinite(anomaly_map).all():
            raise ValueError(f"anomaly_maps[{index}] must be finite.")
    return maps, truths


def _known(mask: npt.NDArray) -> MaskArray:
    """1 where anomalous, 0 where normal, -100 where unknown."""
    return np.where(np.isnan(mask) | (mask == UNKNOWN), np.int8(UNKNOWN), (mask > 0).astype(np.int8))


def _array(values: object) -> npt.NDArray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values if values.dtype.itemsize > 2 or not values.is_floating_point() else values.float()).numpy()
    return np.asarray(values)
