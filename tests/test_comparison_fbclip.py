"""Texts and distances on one scale."""

import math

import pytest
import torch
from torch import Tensor

from modeling_fbclip.comparison_fbclip import SIGMA, Evidence, judge, measure
from modeling_fbclip.maps_fbclip import smooth_maps


def evidence(count: int, seed: int = 0, logit: float = -1.0, distance: float = 0.1) -> Evidence:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 10, 10)
    return Evidence(
        logit + torch.randn(shape, generator=generator),
        distance + 0.02 * torch.randn(shape, generator=generator),
        logit + 0.1 * torch.randn(count, generator=generator),
    )


def with_defect(images: Evidence, size: float) -> Evidence:
    logits, distances = images.logits.clone(), images.distances.clone()
    logits[:, 4:6, 4:6] += size
    distances[:, 4:6, 4:6] += 0.02 * size
    return Evidence(logits, distances, images.cls_logits)


def highest_smoothed(maps: Tensor) -> float:
    """The highest value in deviations from the border, of maps as smooth as the processor makes them."""
    return smooth_maps(maps.double().logit(), SIGMA).max().item()


def test_the_highest_reference_lies_just_below_the_border() -> None:
    references = evidence(16)
    scale = measure(references, own_distance=0.1, mutual=False)
    found = judge(references, scale)
    below = 1 / (1 + math.exp(2 / 16))  # 2 / 16 standard deviations below 0.5
    assert found.scores.max().item() == pytest.approx(below, abs=1e-4)
    assert highest_smoothed(found.maps) == pytest.approx(-2 / 16, abs=1e-3)
    assert found.maps.median() < 0.05


def test_defects_are_beyond_the_border_and_others_are_not() -> None:
    scale = measure(evidence(16), own_distance=0.1, mutual=False)
    good = judge(evidence(50, seed=1), scale)
    bad = judge(with_defect(evidence(50, seed=1), size=5), scale)
    assert (good.scores < 0.5).float().mean() > 0.75
    assert (bad.scores > 0.5).all()
    assert (bad.maps[:, 4:6, 4:6] > 0.5).float().mean() > 0.95
    assert (bad.distance_scores > 0.5).all()


@pytest.mark.parametrize(("own_distance", "weight"), [(0.1, 2.0), (0.05, 0.5), (1.0, 4.0)])
def test_distances_weigh_by_how_alike_the_references_are(own_distance: float, weight: float) -> None:
    """2 where the references differ as much as one image's own patches do, less by the square, at most 4."""
    assert measure(evidence(16, distance=0.1), own_distance, mutual=False).weight == pytest.approx(weight, rel=0.05)


def test_of_one_image_alone_the_weight_is_fixed_and_the_border_far() -> None:
    one, many = (measure(evidence(count), own_distance=0.1, mutual=False) for count in (1, 16))
    assert one.weight == pytest.approx(2 / 9)
    assert highest_smoothed(judge(evidence(1), one).maps) == pytest.approx(-2, abs=1e-3)
    assert many.weight > one.weight


def test_a_third_of_defective_images_does_not_move_the_mutual_border() -> None:
    good = evidence(16)
    bad = with_defect(evidence(8, seed=3), size=5)
    every = Evidence(*(torch.cat(pair) for pair in zip(good, bad, strict=True)))
    found = judge(every, measure(every, own_distance=0.1, mutual=True))
    assert (found.scores[:16] < 0.5).all()
    assert (found.scores[16:] > 0.5).float().mean() > 0.8


def test_constant_images_give_finite_numbers() -> None:
    flat: Tensor = torch.zeros(2, 4, 4)
    constant = Evidence(flat, flat, torch.zeros(2))
    found = judge(constant, measure(constant, own_distance=0.0, mutual=False))
    assert all(values.isfinite().all() for values in found)
