"""AUPRO: the area under the per-region overlap curve, exact and as FB-CLIP's authors compute it.

PRO at a threshold is the share of a ground-truth region that the map finds, averaged over the 8-connected regions of
all images; the false positive rate is pooled over the normal pixels of all images.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from modeling_fbclip.evaluation.ranking import FloatArray, concatenate, curve_between_steps

EIGHT_CONNECTED = np.ones((3, 3))
MAX_FPR = 0.3
PUBLISHED_THRESHOLDS = 200


class RegionOverlap:
    """
    The per-region overlap at every threshold, of anomaly maps and masks of shape `(height, width)`, 1 if anomalous.
    `normal` has the values of all normal pixels, ascending. The values of the anomalous pixels are kept.
    """

    def __init__(self, maps: Sequence[FloatArray], masks: Sequence[npt.NDArray[np.int8]], normal: FloatArray) -> None:
        self.normal = normal
        self.num_regions = 0
        values: list[FloatArray] = []
        shares: list[FloatArray] = []
        for anomaly_map, mask in zip(maps, masks, strict=True):
            is_marked = mask == 1
            regions, count = ndimage.label(is_marked, EIGHT_CONNECTED)
            regions = regions[is_marked]
            values.append(anomaly_map[is_marked])
            shares.append(1 / np.bincount(regions, minlength=1)[regions])
            self.num_regions += count
        found = concatenate(values)
        order = np.argsort(found)
        self._values = found[order]
        # _overlap[i] is the PRO of a threshold at the i-th lowest anomalous value.
        from_top = np.cumsum(concatenate(shares)[order][::-1])[::-1]
        self._overlap = np.append(from_top, 0.0) / max(self.num_regions, 1)

    @property
    def is_defined(self) -> bool:
        """Whether there are a region and a normal pixel."""
        return bool(self.num_regions and self.normal.size)

    def curve(self) -> tuple[FloatArray, FloatArray]:
        """False positive rates and PROs, both from 0 up to 1, with every distinct map value as a threshold."""
        values, first = np.unique(self._values, return_index=True)
        above = 1 - np.searchsorted(self.normal, values, side="right") / self.normal.size
        reached = 1 - np.searchsorted(self.normal, values, side="left") / self.normal.size
        return curve_between_steps(above, reached, self._overlap[first])

    def aupro(self, max_fpr: float = MAX_FPR) -> float | None:
        """Exact area under the curve up to `max_fpr`, divided by it: in `[0, 1]`, or `None` if undefined."""
        if not self.is_defined:
            return None
        rates, overlaps = self.curve()
        inside = int(np.searchsorted(rates, max_fpr, side="right"))
        if inside < len(rates):
            share = (max_fpr - rates[inside - 1]) / (rates[inside] - rates[inside - 1])
            edge = overlaps[inside - 1] + share * (overlaps[inside] - overlaps[inside - 1])
            rates, overlaps = np.append(rates[:inside], max_fpr), np.append(overlaps[:inside], edge)
        return float(np.trapezoid(overlaps, rates) / max_fpr)

    def aupro_published(self, max_fpr: float = MAX_FPR, num_thresholds: int = PUBLISHED_THRESHOLDS) -> float | None:
        """
        The area as FB-CLIP's published tables have it: `num_thresholds` evenly spaced thresholds from the lowest map
        value on, and pixels above them positive. The false positive rates below `max_fpr` are rescaled to `[0, 1]`
        without added end points. `None` if undefined: without both classes, or with fewer than two such rates.
        """
        if not self.is_defined:
            return None
        low = float(min(self.normal[0], self._values[0]))
        step = (float(max(self.normal[-1], self._values[-1])) - low) / num_thresholds
        thresholds = [low + k * step for k in range(num_thresholds)]
        # bisect compares in double precision without a copy of the values.
        rates = np.array([1 - bisect_right(self.normal, t) / self.normal.size for t in thresholds])
        overlaps = np.array([self._overlap[bisect_right(self._values, t)] for t in thresholds])
        rates, overlaps = rates[rates < max_fpr], overlaps[rates < max_fpr]
        if rates.size < 2 or rates[0] == rates[-1]:
            return None
        return float(np.trapezoid(overlaps[::-1], (rates[::-1] - rates[-1]) / (rates[0] - rates[-1])))
