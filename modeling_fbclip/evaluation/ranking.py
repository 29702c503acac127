"""How well scores separate anomalous from normal: exact curves and numbers from one sort of each class.

Recall changes only at the scores of anomalous samples, so it is enough to look these few up among the sorted normal
scores. The numbers are exactly scikit-learn's. For 100 maps of 518 × 518 pixels, its `roc_auc_score` takes 24 seconds,
this less than one.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


class Ranking:
    """
    Scores of the normal and the anomalous samples (images or pixels). The arrays are sorted in place, as a copy would
    double the memory of many maps. Samples at or above a threshold count as found. Every measure is `None` without
    samples of both classes.
    """

    def __init__(self, normal: FloatArray, anomalous: FloatArray) -> None:
        self.normal, self.anomalous = normal, anomalous
        self.normal.sort()
        self.anomalous.sort()

    @property
    def is_defined(self) -> bool:
        """Whether there are samples of both classes."""
        return bool(self.normal.size and self.anomalous.size)

    @cached_property
    def _steps(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Distinct anomalous scores, ascending, and the true and false positives of each as threshold."""
        values, first = np.unique(self.anomalous, return_index=True)
        false_positives = self.normal.size - np.searchsorted(self.normal, values, side="left")
        return values, (self.anomalous.size - first).astype(float), false_positives.astype(float)

    def auroc(self) -> float | None:
        """Area under the ROC curve in `[0, 1]`; ties count one half."""
        if not self.is_defined:
            return None
        below = np.searchsorted(self.normal, self.anomalous, side="left").sum(dtype=float)
        not_above = np.searchsorted(self.normal, self.anomalous, side="right").sum(dtype=float)
        return float((below + not_above) / 2 / self.anomalous.size / self.normal.size)

    def average_precision(self) -> float | None:
        """Sum of precision times increase of recall over all scores, in `[0, 1]`; tied scores are one step."""
        if not self.is_defined:
            return None
        _, true_positives, false_positives = self._steps
        precision = true_positives / (true_positives + false_positives)
        recall_steps = -np.diff(true_positives, append=0) / self.anomalous.size
        return float(precision @ recall_steps)

    def f1_max(self) -> float | None:
        """Largest F1 over all thresholds, in `[0, 1]`."""
        return float(self._f1().max()) if self.is_defined else None

    def f1_threshold(self) -> float | None:
        """The threshold of `f1_max`, moved half-way to the next lower score; the highest of several."""
        return self._threshold_of_best(self._f1()) if self.is_defined else None

    def youden_threshold(self) -> float | None:
        """The threshold with the largest recall minus false positive rate (Youden's J), as `f1_threshold`."""
        if not self.is_defined:
            return None
        _, true_positives, false_positives = self._steps
        return self._threshold_of_best(true_positives / self.anomalous.size - false_positives / self.normal.size)

    def roc_curve(self) -> tuple[FloatArray, FloatArray]:
        """False positive rates and recalls, both from 0 up to 1. Straight lines between them are the exact curve."""
        values, true_positives, false_positives = self._steps
        above = self.normal.size - np.searchsorted(self.normal, values, side="right")
        recall = true_positives / self.anomalous.size
        return curve_between_steps(above / self.normal.size, false_positives / self.normal.size, recall)

    def precision_recall_curve(self) -> tuple[FloatArray, FloatArray]:
        """Recalls, ascending from 0, and the precision of each; with every distinct anomalous score as a threshold."""
        _, true_positives, false_positives = self._steps
        precision = (true_positives / (true_positives + false_positives))[::-1]
        recall = (true_positives / self.anomalous.size)[::-1]
        return np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision])

    def _f1(self) -> FloatArray:
        _, true_positives, false_positives = self._steps
        return 2 * true_positives / (true_positives + false_positives + self.anomalous.size)

    def _threshold_of_best(self, quality: FloatArray) -> float:
        # Between two scores, because scores differ by rounding with the batch size.
        value = self._steps[0][len(quality) - 1 - int(quality[::-1].argmax())]
        below = [scores[i - 1] for scores in (self.normal, self.anomalous) if (i := np.searchsorted(scores, value))]
        return (float(value) + float(max(below, default=value))) / 2


def curve_between_steps(above: FloatArray, reached: FloatArray, shares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """
    The false positive rates and the shares of a curve from (0, 0) to (1, 1) that rises at the anomalous scores only.

    Args: for each distinct anomalous score, ascending, the false positive rate `above` it, the rate with it `reached`,
    and the share of the anomalous samples found. Normal samples tied with a score make a slope.
    """
    shares = shares[::-1]
    rates = np.stack([above[::-1], reached[::-1]], axis=1).ravel()
    before = np.concatenate([[0.0], shares[:-1]])
    heights = np.stack([before, shares], axis=1).ravel()
    return np.concatenate([[0.0], rates, [1.0]]), np.concatenate([[0.0], heights, [1.0]])


def concatenate(parts: list[FloatArray]) -> FloatArray:
    """All parts in one array, which is empty without parts."""
    return np.concatenate(parts) if parts else np.empty(0)
