"""The literal definitions of the region and image metrics: each threshold and each region in turn."""

import itertools

import numpy as np


def regions_of(mask):
    """8-connected regions, each a boolean mask, by flood fill."""
    left = {tuple(place) for place in np.argwhere(mask)}
    while left:
        region, front = np.zeros(mask.shape, dtype=bool), [left.pop()]
        while front:
            y, x = front.pop()
            region[y, x] = True
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            front += near
        yield region


def overlap_and_fpr(maps, masks, is_positive):
    found = [is_positive(m)[region].mean() for m, mask in zip(maps, masks, strict=True) for region in regions_of(mask)]
    normal = np.concatenate([is_positive(m)[~mask] for m, mask in zip(maps, masks, strict=True)])
    return np.mean(found), normal.mean()


def aupro(maps, masks, max_fpr=0.3):
    """Every distinct value is a threshold. Straight lines between them, cut at `max_fpr` by interpolation."""
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        overlap, fpr = overlap_and_fpr(maps, masks, lambda m, t=threshold: m >= t)
        points.append((fpr, overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x1 > max_fpr:
            y1 = y0 + (y1 - y0) * (max_fpr - x0) / (x1 - x0)
            return (area + (max_fpr - x0) * (y0 + y1) / 2) / max_fpr
        area += (x1 - x0) * (y0 + y1) / 2
    raise AssertionError("the lowest threshold has a false positive rate of 1")


def aupro_published(maps, masks, max_fpr=0.3):
    """200 evenly spaced thresholds, positive strictly above; rates below `max_fpr` stretched to [0, 1]."""
    low, high = float(np.min(maps)), float(np.max(maps))
    points = []
    for k in range(200):
        threshold = low + k * (high - low) / 200
        overlap, fpr = overlap_and_fpr(maps, masks, lambda m, t=threshold: m.astype(float) > t)
        if fpr < max_fpr:
            points.append((fpr, overlap))
    rates = [fpr for fpr, _ in points]
    if not rates or min(rates) == max(rates):
        return None
    points = [((fpr - min(rates)) / (max(rates) - min(rates)), overlap) for fpr, overlap in reversed(points)]
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(points))


def aupimo(maps, masks, steps=4000):
    """The midpoint rule over the logarithm of the rate. Each rate has the lowest threshold that keeps it."""
    normal = np.concatenate([m.ravel() for m, mask in zip(maps, masks, strict=True) if not mask.any()])
    rates = 10 ** (-5 + (np.arange(steps) + 0.5) / steps)
    descending = np.sort(normal)[::-1]
    # No more than floor(rate · n) normal pixels are above the next one's value.
    thresholds = descending[np.floor(rates * normal.size).astype(int)]
    images = [
        np.mean([(m[mask] > threshold).mean() for threshold in thresholds])
        for m, mask in zip(maps, masks, strict=True)
        if mask.any()
    ]
    return np.mean(images)
