"""AUPIMO: the area under the per-image overlap curve (Bertoldo et al., BMVC 2024), at very few false alarms."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from modeling_fbclip.evaluation.ranking import FloatArray

MIN_FPR, MAX_FPR = 1e-5, 1e-4


def aupimo(maps: Sequence[FloatArray], masks: Sequence[npt.NDArray[np.bool_]]) -> float | None:
    r"""
    The share of an image's anomalous pixels that are found at a false positive rate between 1e-5 and 1e-4 among the
    pixels of normal images, averaged over the logarithm of that rate, then over the anomalous images. The share found
    at a rate is that of the lowest threshold which keeps the rate. anomalib's AUPIMO tends to this value as its
    thresholds grow dense, but for the bounds, which it moves to whole pixels.

    Args:
        maps (sequence of `np.ndarray` of shape `(height, width)`): Anomaly maps.
        masks (sequence of boolean `np.ndarray` of shape `(height, width)`): Their ground truth; an image is normal if
            it is empty.

    Returns:
        `float` in `[0, 1]`, or `None` without an anomalous image or with fewer than 100000 pixels in normal images, of
        which a rate of 1e-5 is less than one.
    """
    normal = [anomaly_map.ravel() for anomaly_map, mask in zip(maps, masks, strict=True) if not mask.any()]
    anomalous = [np.sort(anomaly_map[mask]) for anomaly_map, mask in zip(maps, masks, strict=True) if mask.any()]
    num_pixels = sum(map(len, normal))
    # By whole pixels: 100000 times 1e-5 is below 1 in floating point.
    if not anomalous or num_pixels < round(1 / MIN_FPR):
        return None
    # False positive rate k / num_pixels is kept down to just above the (k + 1)-th highest normal value.
    ranks = np.arange(int(num_pixels * MIN_FPR + 1e-6), int(num_pixels * MAX_FPR + 1e-6) + 1)
    thresholds = _highest(normal, int(ranks[-1]) + 1)[ranks]
    edges = np.append(ranks, ranks[-1] + 1) / num_pixels
    weights = np.diff(np.log(edges.clip(MIN_FPR, MAX_FPR))) / np.log(MAX_FPR / MIN_FPR)
    shares = [1 - np.searchsorted(values, thresholds, side="right") / values.size for values in anomalous]
    return float(np.mean(np.stack(shares) @ weights))


def _highest(parts: Sequence[FloatArray], count: int) -> FloatArray:
    """The highest values of all parts together, descending; no more than `count` of a part are copied."""
    candidates = [np.partition(part, -count)[-count:] if count < part.size else part for part in parts]
    return np.sort(np.concatenate(candidates))[::-1][:count]
