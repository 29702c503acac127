"""AUPIMO: the area under the per-image overlap curve (Bertoldo et al., BMVC 2024) at very low false positive rates."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from modeling_fbclip.evaluation.ranking import FloatArray

MIN_FPR, MAX_FPR = 1e-5, 1e-4


def aupimo(maps: Sequence[FloatArray], masks: Sequence[npt.NDArray[np.int8]]) -> float | None:
    r"""
    The share of an image's anomalous pixels above a threshold, averaged over the logarithm of the false positive rate
    from 1e-5 to 1e-4, then over the anomalous images. The rate is that among the pixels of normal images. Each rate
    has the lowest threshold that keeps it. anomalib's AUPIMO comes close with many thresholds, except that it rounds
    the bounds to whole pixels.

    Args:
        maps (sequence of `np.ndarray` of shape `(height, width)`): Anomaly maps.
        masks (sequence of `np.ndarray` of shape `(height, width)`): Their ground truth: 0 normal, 1 anomalous, other
            values unknown.

    Returns:
        `float` in `[0, 1]`, or `None` without anomalous images or with fewer than 100000 pixels in normal images.
    """
    pairs = list(zip(maps, masks, strict=True))
    # The values of a mask without unknown pixels are not copied.
    normal = [
        anomaly_map[mask == 0] if mask.any() else anomaly_map.ravel()
        for anomaly_map, mask in pairs
        if not _marks(mask)
    ]
    anomalous = [np.sort(anomaly_map[mask == 1]) for anomaly_map, mask in pairs if _marks(mask)]
    num_pixels = sum(map(len, normal))
    if not anomalous or num_pixels < round(1 / MIN_FPR):
        return None
    # Thresholds just above the (k + 1)-th highest normal value keep the false positive rate k / num_pixels.
    ranks = np.arange(int(num_pixels * MIN_FPR + 1e-6), int(num_pixels * MAX_FPR + 1e-6) + 1)
    thresholds = _highest(normal, int(ranks[-1]) + 1)[ranks]
    edges = np.append(ranks, ranks[-1] + 1) / num_pixels
    weights = np.diff(np.log(edges.clip(MIN_FPR, MAX_FPR))) / np.log(MAX_FPR / MIN_FPR)
    shares = [1 - np.searchsorted(values, thresholds, side="right") / values.size for values in anomalous]
    return float(np.mean(np.stack(shares) @ weights))


def _marks(mask: npt.NDArray[np.int8]) -> bool:
    return bool((mask == 1).any())


def _highest(parts: Sequence[FloatArray], count: int) -> FloatArray:
    """The `count` highest values of all parts, descending, without a copy of all values."""
    # A slice alone would keep the whole copy.
    candidates = [np.partition(part, -count)[-count:].copy() if count < part.size else part for part in parts]
    return np.sort(np.concatenate(candidates))[::-1][:count]
