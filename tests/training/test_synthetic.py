"""Synthetic anomalies: in half of the draws, with a mask of the changed pixels, and reproducible."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import quick
from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.training.log import read_log
from modeling_fbclip.training.schedule import Draw
from modeling_fbclip.training.synthetic import AREA, SyntheticAnomalies, cloud, cut_paste
from training.conftest import make_parts


@pytest.fixture
def anomalies(parts):
    return SyntheticAnomalies(parts.filter(lambda row: row["label"] == 0), FBCLIPProcessor(), seed=0)


def test_half_of_the_draws_are_anomalous_with_a_mask_of_the_changes(anomalies, synthetic_image):
    pixels = np.asarray(synthetic_image).astype(int)
    masks = []
    for row in range(200):
        painted, mask = anomalies(synthetic_image, Draw(0, row))
        changed = (np.asarray(painted).astype(int) != pixels).any(axis=2)
        if mask is None:
            assert not changed.any()
            continue
        marked = np.asarray(mask)
        assert marked.shape == pixels.shape[:2]
        assert not changed[~marked].any()
        assert changed[marked].mean() > 0.5
        masks.append(marked.mean())
    assert 75 <= len(masks) <= 115
    assert min(masks) > 0
    assert max(masks) <= AREA[1] + 0.01


def test_the_same_draw_gives_the_same_picture_and_epochs_differ(anomalies, synthetic_image):
    first = [anomalies(synthetic_image, Draw(0, row))[0].tobytes() for row in range(20)]
    assert first == [anomalies(synthetic_image, Draw(0, row))[0].tobytes() for row in range(20)]
    assert first != [anomalies(synthetic_image, Draw(1, row))[0].tobytes() for row in range(20)]


def test_a_plain_surface_without_visible_change_is_not_anomalous(anomalies):
    plain = Image.new("RGB", (50, 40), (128, 128, 128))
    for row in range(100):
        painted, mask = anomalies(plain, Draw(0, row))
        if mask is not None:
            changed = (np.asarray(painted) != 128).any(axis=2)
            assert changed[np.asarray(mask)].mean() >= 0.5


@quick
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 1000))
def test_images_of_any_size_are_painted(height, width, seed):
    rng = np.random.default_rng(seed)
    painted, mask = cut_paste(rng, rng.random((height, width, 3), dtype=np.float32))
    assert painted.shape == (height, width, 3)
    assert mask.any()
    field = cloud(rng, height, width, finest=64)
    assert field.shape == (height, width)
    assert 0 <= field.min() <= field.max() <= 1


def test_good_images_can_be_trained_on_with_synthetic(run, tmp_path):
    parts = make_parts(tmp_path / "parts", count=12)
    run(parts.filter(lambda row: row["label"] == 0), epochs=3, synthetic=True, validation_fraction=0.34)
    log = read_log(tmp_path / "out")
    assert max(line.get("dice", 0) for line in log) > 0
    assert len([line for line in log if "validation_loss" in line]) == 3
