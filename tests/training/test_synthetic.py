"""Synthetic anomalies: in half of the draws, with a mask of the changed pixels, and reproducible."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.training.log import read_log
from modeling_fbclip.training.schedule import Draw
from modeling_fbclip.training.synthetic import SyntheticAnomalies
from training.conftest import make_parts

SIDE = 64


@pytest.fixture
def anomalies(parts):
    good = parts.filter(lambda row: row["label"] == 0)
    return SyntheticAnomalies(good, FBCLIPProcessor(image_size=SIDE), seed=0)


def unpainted(image):
    """The image in the size that the processor gives it."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(int)


def test_half_of_the_draws_are_anomalous_with_a_mask_of_the_changes(anomalies, synthetic_image):
    pixels, shares = unpainted(synthetic_image), []
    for row in range(200):
        painted, mask = anomalies(synthetic_image, Draw(0, row))
        change = np.abs(np.asarray(painted).astype(int) - pixels).max(axis=2)
        if mask is None:
            assert not change.any()
            continue
        marked = np.asarray(mask)
        assert marked.shape == (SIDE, SIDE)
        assert change[marked].mean() >= 7
        assert change[marked].mean() > change[~binary_dilation(marked, iterations=4)].mean()
        shares.append(marked.mean())
    assert 80 <= len(shares) <= 120
    assert 0 < min(shares) < 0.01
    assert 0.1 < max(shares) < 0.7


def test_the_same_draw_gives_the_same_picture_and_epochs_differ(anomalies, synthetic_image):
    first = [anomalies(synthetic_image, Draw(0, row))[0].tobytes() for row in range(20)]
    assert first == [anomalies(synthetic_image, Draw(0, row))[0].tobytes() for row in range(20)]
    assert first != [anomalies(synthetic_image, Draw(1, row))[0].tobytes() for row in range(20)]


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (3, 2), (50, 40), (900, 30)])
def test_images_of_any_size_and_plain_ones_are_painted_where_it_can_be_seen(anomalies, size):
    plain, found = Image.new("RGB", size, (128, 128, 128)), 0
    for row in range(60):
        painted, mask = anomalies(plain, Draw(0, row))
        assert painted.size == (SIDE, SIDE)
        if mask is not None:
            change = np.abs(np.asarray(painted).astype(int) - 128).max(axis=2)
            assert change[np.asarray(mask)].mean() >= 7
            found += 1
    assert 20 <= found <= 40


def test_defects_begin_on_the_part(anomalies):
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    pixels[20:44, 20:44] = np.random.default_rng(0).integers(90, 130, (24, 24, 3))
    masks = [mask for row in range(60) if (mask := anomalies(Image.fromarray(pixels), Draw(0, row))[1])]
    assert len(masks) > 20
    assert np.mean([np.asarray(mask)[16:48, 16:48].any() for mask in masks]) > 0.95


def test_a_processor_of_another_shape_gets_a_square_of_its_longer_side(parts, synthetic_image):
    processor = FBCLIPProcessor(image_size=(28, 42))
    wide = SyntheticAnomalies(parts, processor, seed=0)
    for row in range(10):
        painted, mask = wide(synthetic_image, Draw(0, row))
        assert painted.size == (42, 42)
        assert processor(images=[painted], masks=[mask])["mask_labels"].shape == (1, 28, 42)


def test_judged_images_are_anomalous_in_turn(parts, synthetic_image):
    anomalies = SyntheticAnomalies(parts, FBCLIPProcessor(), seed=0, in_turn=True)
    painted = [anomalies(synthetic_image, Draw(0, row))[1] is not None for row in range(20)]
    assert painted == [bool(row % 2) for row in range(20)]


def test_good_images_can_be_trained_on_with_synthetic(run, tmp_path):
    parts = make_parts(tmp_path / "parts", count=12)
    run(parts.filter(lambda row: row["label"] == 0), epochs=3, synthetic=True, validation_fraction=0.34)
    log = read_log(tmp_path / "out")
    assert max(line.get("dice", 0) for line in log) > 0
    assert len([line for line in log if "validation_loss" in line]) == 4
