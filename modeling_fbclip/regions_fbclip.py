"""The connected areas of a mask, each with its place, its size and its values in the anomaly map."""

from collections.abc import Iterator
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Region = dict[str, Any]

WITH_CORNERS = np.ones((3, 3), dtype=bool)  # pixels that touch at a corner are connected
STRIP = 2**22  # pixels that are measured at once, which bounds the memory


def find_regions(
    anomaly_map: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], min_area: int = 1
) -> tuple[list[Region], npt.NDArray[np.bool_]]:
    r"""
    Measures the connected areas of a mask. Pixels that touch by a side or a corner are connected.

    Args:
        anomaly_map (array of shape `(height, width)`): Values of all pixels.
        mask (boolean array of the same shape): The pixels that make up the areas.
        min_area (`int`, defaults to 1): Areas of fewer pixels are left out.

    Returns:
        `tuple[list[dict], array]`: The regions, the highest peak first, and the mask of them alone. A region has
        `box` (`[left, top, right, bottom]` in pixels, right and bottom exclusive), `area` (in pixels), and `peak` and
        `mean` of the map inside it.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return [], mask
    top, left = int(rows[0]), int(columns[0])
    part = np.s_[top : rows[-1] + 1, left : columns[-1] + 1]  # all that is outside of it costs nothing
    labels, count = ndimage.label(mask[part], WITH_CORNERS)
    areas, peaks, sums = _measure(anomaly_map[part], labels, count)
    kept = areas >= min_area
    if not kept[1:].all():
        mask = mask.copy()
        kept[0] = False
        for strip in _strips(labels):
            mask[part][strip] = kept[labels[strip]]
    boxes = ndimage.find_objects(labels, count)
    ranked = (number for number in np.argsort(-peaks[1:], kind="stable") + 1 if kept[number])
    return [
        {
            "box": [left + across.start, top + down.start, left + across.stop, top + down.stop],
            "area": int(areas[number]),
            "peak": float(peaks[number]),
            "mean": float(sums[number] / areas[number]),
        }
        for number in ranked
        for down, across in [boxes[number - 1]]
    ], mask


def check_area(pixels: int) -> int:
    """A `min_area` as an integer; ValueError if it is none, or below 1."""
    try:
        area = index(pixels)
    except TypeError:
        area = 0
    if area < 1:
        raise ValueError(f"`min_area` is {pixels}, but must be a whole number of pixels, from 1 on.")
    return area


def _measure(
    values: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Number of pixels, largest value and sum of each label from 0, the background, which has 0."""
    areas = np.zeros(count + 1, dtype=np.int64)
    peaks = np.zeros(count + 1, dtype=np.float32)
    sums = np.zeros(count + 1, dtype=np.float64)
    for strip in _strips(labels):
        inside = labels[strip] > 0
        own, value = labels[strip][inside], values[strip][inside]
        areas += np.bincount(own, minlength=count + 1)
        sums += np.bincount(own, value, minlength=count + 1)
        np.maximum.at(peaks, own, value)
    return areas, peaks, sums


def _strips(labels: npt.NDArray[np.int32]) -> Iterator[slice]:
    rows = max(1, STRIP // labels.shape[1])
    return (slice(top, top + rows) for top in range(0, len(labels), rows))
