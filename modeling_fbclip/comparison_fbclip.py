"""How the answer of the texts and the distances to reference images are joined, on one scale. Pure functions.

Both are put in units of the references: their mean and standard deviation there. A distance weighs less the less the
references are alike. Every number is measured on the references, so that none belongs to one model.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .maps_fbclip import smooth_maps

SIGMA = 1.0  # in patches, of the Gaussian before an image's value is taken; the processor smooths the map itself
TOP_SHARE = 0.01  # of the patches; their mean is the image's value
DISTANCE_WEIGHT = 2.0  # of references that are as alike as an image's own patches are
MAX_WEIGHT = 4.0
CLS_WEIGHT = 0.5
UNLIKENESS_OF_ONE = 3.0  # one image cannot tell how much others differ
MARGIN = 2.0  # standard deviations over the number of references: the fewer, the less is known of the highest value
MUTUAL_QUANTILE, MUTUAL_MARGIN = 2 / 3, 0.5  # up to a third of the images may be defective


class Evidence(NamedTuple):
    """What is known of some images: `(n, h, w)` logits and distances, `(n,)` logits of the CLS token."""

    logits: Tensor
    distances: Tensor
    cls_logits: Tensor


class Scale(NamedTuple):
    """
    The units of the references, and where the border between normal and anomalous lies in them.

    Args:
        logit_mean, logit_std, distance_mean, distance_std: over all patches of the references, smoothed.
        cls_mean: mean logit of the CLS token.
        weight: of a distance beside a logit.
        map_border, image_border: the joint values that are mapped to 0.5.
        width: standard deviation of the joint map, the width of the mapping.
        distance_map_border, distance_image_border: as the borders, of distances alone.
    """

    logit_mean: float
    logit_std: float
    distance_mean: float
    distance_std: float
    cls_mean: float
    weight: float
    map_border: float = 0.0
    image_border: float = 0.0
    width: float = 1.0
    distance_map_border: float = 0.0
    distance_image_border: float = 0.0


class Judgement(NamedTuple):
    """Probabilities: `(n,)` scores and `(n, h, w)` maps, joint ones and those of the distances alone."""

    scores: Tensor
    maps: Tensor
    distance_scores: Tensor
    distance_maps: Tensor


def gather(logits: Tensor, distances: Tensor) -> Evidence:
    """Evidence from logits, `(n, 1 + h·w)` with CLS first, and distances, `(n, h, w)`."""
    maps = logits[:, 1:].unflatten(1, tuple(distances.shape[1:])).float()
    return Evidence(maps, distances, logits[:, 0].float())


def measure(references: Evidence, own_distance: float, mutual: bool) -> Scale:
    """
    The scale of reference images, each compared with the others.

    Args:
        references: of at least one image; the distances of a single one are those to its own patches.
        own_distance: mean distance of a patch to its own image.
        mutual: whether some of the images may be defective. The border then lies above two thirds of their values,
            else above all of them.
    """
    count = len(references.cls_logits)
    logits, distances = smooth_maps(references.logits, SIGMA), smooth_maps(references.distances, SIGMA)
    mean = float(distances.mean())
    unlikeness = mean / max(own_distance, 1e-6) if count > 1 else UNLIKENESS_OF_ONE
    scale = Scale(
        logit_mean=float(logits.mean()),
        logit_std=_std(logits),
        distance_mean=mean,
        distance_std=_std(distances),
        cls_mean=float(references.cls_logits.mean()),
        weight=min(DISTANCE_WEIGHT / max(unlikeness, 1e-6) ** 2, MAX_WEIGHT),
    )
    found = _values(references, scale)
    # The processor smooths and enlarges a map, which lowers its peaks about as much as the smoothing here.
    joint, distances = smooth_maps(found.joint, SIGMA), smooth_maps(found.distances, SIGMA)
    width = _std(joint)
    quantile, margin = (MUTUAL_QUANTILE, MUTUAL_MARGIN) if mutual else (1.0, MARGIN / count)

    def at(values: Tensor, width: float) -> float:
        return float(values.quantile(quantile)) + margin * width

    return scale._replace(
        map_border=at(joint.flatten(1).amax(dim=1), width),
        image_border=at(found.images, width),
        width=width,
        distance_map_border=at(distances.flatten(1).amax(dim=1), 1.0),
        distance_image_border=at(found.images_by_distance, 1.0),
    )


def judge(images: Evidence, scale: Scale) -> Judgement:
    """Probabilities in `[0, 1]` of images that are compared with references of this scale; 0.5 is the border."""
    found = _values(images, scale)
    return Judgement(
        scores=((found.images - scale.image_border) / scale.width).sigmoid(),
        maps=((found.joint - scale.map_border) / scale.width).sigmoid(),
        distance_scores=(found.images_by_distance - scale.distance_image_border).sigmoid(),
        distance_maps=(found.distances - scale.distance_map_border).sigmoid(),
    )


class _Values(NamedTuple):
    """In units of the references: `(n, h, w)` joint maps and distances, and an image's value by each, `(n,)`."""

    joint: Tensor
    distances: Tensor
    images: Tensor
    images_by_distance: Tensor


def _values(images: Evidence, scale: Scale) -> _Values:
    text = (images.logits - scale.logit_mean) / scale.logit_std
    distances = (images.distances - scale.distance_mean) / scale.distance_std
    joint = text + scale.weight * distances
    by_cls = CLS_WEIGHT * (images.cls_logits - scale.cls_mean) / scale.logit_std
    return _Values(joint, distances, _top(joint) + by_cls, _top(distances))


def _top(maps: Tensor) -> Tensor:
    patches = smooth_maps(maps, SIGMA).flatten(1)
    count = torch.sym_max(torch.sym_int(TOP_SHARE * patches.shape[1] + 0.5), 1)  # rounded; also in a graph
    return patches.topk(count, dim=1).values.mean(dim=1)


def _std(values: Tensor) -> float:
    return max(float(values.std(correction=0)), 1e-6)  # a constant image has none
