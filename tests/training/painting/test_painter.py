"""The painter of defects: each of the fourteen kinds, on squares of any side, where there is a part."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from modeling_fbclip.training.painting.defects import painted_kinds
from modeling_fbclip.training.painting.noise import spectral_noise
from modeling_fbclip.training.painting.painter import VISIBLE, choose_kind, foreground, is_visible, paint

KINDS = painted_kinds(lambda rng, size: rng.random((size, size, 3), dtype=np.float32))


def surface(seed: int, size: int) -> np.ndarray:
    """A grey grain, from 0 to 1."""
    field = spectral_noise(np.random.default_rng(seed), size, 1.0)
    return np.repeat(np.clip(0.5 + 0.08 * field, 0, 1)[..., None], 3, 2)


def disc(size: int, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:size, :size]
    return np.hypot(rows - size / 2, columns - size / 2) < radius


def test_there_are_fourteen_kinds_and_all_are_chosen():
    rng = np.random.default_rng(0)
    chosen = [choose_kind(rng, KINDS) for _ in range(1000)]
    assert len(KINDS) == len(set(chosen)) == 14
    share = KINDS["crack"][1] / sum(frequency for _, frequency in KINDS.values())
    assert chosen.count("crack") / 1000 == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_changes_what_its_mask_shows(kind):
    visible = 0
    for seed in range(20):
        clean = surface(seed, 96)
        image, mask = paint(np.random.default_rng(seed), clean, KINDS[kind][0], np.ones((96, 96), dtype=np.float32))
        assert image.shape == clean.shape
        assert 0 <= image.min() <= image.max() <= 1
        change = np.abs(image - clean).max(2)
        if is_visible(clean, image, mask):
            visible += 1
            assert change[mask].mean() >= VISIBLE
            assert change[mask].mean() > 5 * change[~binary_dilation(mask, iterations=4)].mean()
    assert visible >= 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 7, 14, 33])
def test_small_squares_are_painted(kind, size):
    for seed in range(3):
        everywhere = np.ones((size, size), dtype=np.float32)
        image, mask = paint(np.random.default_rng(seed), surface(seed, size), KINDS[kind][0], everywhere)
        assert np.isfinite(image).all()
        assert (image.shape, mask.shape) == ((size, size, 3), (size, size))


def test_a_defect_of_two_pixels_or_of_no_contrast_cannot_be_seen():
    clean, mask = np.zeros((8, 8, 3)), np.zeros((8, 8), dtype=bool)
    mask[2, 2:5] = True
    changed = clean + 0.04 * mask[..., None]
    assert is_visible(clean, changed, mask)
    assert not is_visible(clean, clean + 0.02 * mask[..., None], mask)
    mask[2, 4] = False
    assert not is_visible(clean, changed, mask)


@pytest.mark.parametrize("background", [0.0, 0.15, 1.0])
def test_a_part_on_a_plain_background_is_found(background):
    part = disc(64, 20)
    image = np.where(part[..., None], surface(0, 64), background + (0.3 if background == 0.5 else 0)).astype(
        np.float32
    )
    assert np.mean((foreground(image) > 0.5) == part) > 0.98


@pytest.mark.parametrize(
    "image", [surface(0, 64) * 0 + 0.5, surface(0, 64), np.random.default_rng(0).random((64, 64, 3))]
)
def test_a_surface_is_all_part(image):
    assert foreground(image).all()


def test_a_small_thing_on_a_plain_surface_is_no_part():
    image = np.where(disc(64, 5)[..., None], 0.9, surface(0, 64)).astype(np.float32)
    assert foreground(image).all()
