"""Distances to reference images agree with their literal form."""

import pytest
import reference
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from conftest import quick
from modeling_fbclip.distances_fbclip import (
    mean_of_nearest,
    nearest_at_once,
    nearest_distances,
    nearest_of_all,
    reach_in_patches,
    unit_patches,
)


def patches(seed: int, layers: int, height: int, width: int) -> Tensor:
    values = torch.randn(layers, height, width, 5, generator=torch.Generator().manual_seed(seed))
    return F.normalize(values, dim=-1).half()


@given(
    st.integers(0, 999), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)
)
@quick
def test_nearest_distances_agree_with_the_literal_form(
    seed: int, layers: int, height: int, width: int, rows: int, columns: int
) -> None:
    tokens, others = patches(seed, layers, height, width), patches(seed + 1, layers, height, width)
    for other, own in ((others, False), (tokens, True)):
        expected = reference.nearest_distances(tokens.double(), other.double(), (rows, columns), own)
        actual = nearest_distances(tokens, other, (rows, columns), own)
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=1e-6)


def test_all_images_at_once_have_the_distances_of_each_by_itself() -> None:
    images, others = (
        torch.stack([patches(seed, 3, 5, 4).float() for seed in range(*seeds)]) for seeds in ((2,), (2, 9))
    )
    for reach in ((1, 3), (5, 1), (9, 9)):
        found = nearest_at_once(images, others, torch.tensor(reach))
        for image, distances in zip(images, found, strict=True):
            expected = nearest_of_all(torch.stack([nearest_distances(image, other, reach) for other in others]))
            torch.testing.assert_close(distances, expected)


def test_the_same_place_has_no_distance_and_a_far_one_is_not_looked_at() -> None:
    tokens = patches(0, 1, 1, 6)
    assert nearest_distances(tokens, tokens, (1, 1)).max() < 1e-3
    moved = tokens.roll(3, dims=2)
    assert nearest_distances(tokens, moved, (1, 1)).min() > 0.01
    assert nearest_distances(tokens, moved, (1, 3)).max() < 1e-3


def test_tokens_lose_their_length_and_the_first_one() -> None:
    layer = torch.tensor([[[9.0, 9.0], [3.0, 4.0], [0.0, 2.0]]])
    tokens = unit_patches([layer, layer], grid=(1, 2))
    torch.testing.assert_close(tokens[0, 1], torch.tensor([[[0.6, 0.8], [0.0, 1.0]]]))


@pytest.mark.parametrize(
    ("share", "grid", "expected"), [(1 / 8, (32, 37), (4, 5)), (1, (4, 6), (4, 6)), (0.01, (3, 3), (2, 2))]
)
def test_the_reach_is_a_share_of_each_side(share: float, grid: tuple[int, int], expected: tuple[int, int]) -> None:
    assert reach_in_patches(share, grid) == expected


def test_distances_to_several_images_become_one() -> None:
    distances = torch.tensor([[[[0.1]], [[0.8]]], [[[0.3]], [[0.2]]], [[[0.5]], [[0.9]]]])  # 3 images, 2 layers
    assert nearest_of_all(distances).item() == pytest.approx((0.1 + 0.2) / 2)
    many = torch.arange(10.0).view(10, 1, 1, 1).flip(0)
    assert mean_of_nearest(many).item() == pytest.approx((0 + 1 + 2) / 3)
