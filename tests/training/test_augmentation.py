"""Views of an image: fixed by seed and pixels, with their masks."""

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.training.augmentation import CUT, VIEWS, Augmentation
from modeling_fbclip.training.log import read_log
from training.conftest import make_parts

DIGEST = "0f" * 16


def photograph(height: int = 60, width: int = 60) -> tuple[Image.Image, np.ndarray]:
    """A dark image with a bright spot, and the mask of the spot."""
    mask = np.zeros((height, width), dtype=np.int8)
    mask[height // 3 : height // 2, width // 2 : 3 * width // 4] = 1
    return Image.fromarray(np.where(mask, 220, 40).astype(np.uint8)).convert("RGB"), mask


@pytest.mark.parametrize("epoch", range(1, VIEWS))
@pytest.mark.parametrize("size", [(60, 60), (40, 120)])
def test_a_mask_lies_on_its_defect_in_every_view(epoch, size):
    image, mask = photograph(*size)
    for seed in range(10):
        augmentation = Augmentation(seed)
        seen = np.asarray(augmentation.image(image, DIGEST, epoch)).mean(axis=2)
        marked = np.asarray(augmentation.mask(mask, DIGEST, epoch)) == 1
        assert seen.shape == marked.shape
        assert ((seen > 130) == marked).all()
        assert (1 - CUT) ** 2 * 0.95 <= seen.size / mask.size <= 1
    assert sorted(seen.shape) <= sorted(size)


def test_the_first_view_is_the_image_and_views_come_back_in_turn():
    image, mask = photograph()
    augmentation = Augmentation(7)
    assert augmentation.image(image, DIGEST, 0) is image
    assert augmentation.mask(mask, DIGEST, VIEWS) is mask
    views = [augmentation.image(image, DIGEST, epoch).tobytes() for epoch in range(VIEWS)]
    assert len(set(views)) == VIEWS
    assert views == [augmentation.image(image, DIGEST, epoch + VIEWS).tobytes() for epoch in range(VIEWS)]
    assert Augmentation(8).image(image, DIGEST, 1).tobytes() != views[1]
    assert len({augmentation.name(DIGEST, epoch) for epoch in range(2 * VIEWS)}) == VIEWS


def test_a_mask_of_another_size_and_unknown_pixels_go_along():
    _, mask = photograph()
    augmentation = Augmentation(0)
    small = augmentation.mask(mask, DIGEST, 1)
    large = augmentation.mask(mask.repeat(3, axis=0).repeat(3, axis=1), DIGEST, 1)
    assert np.abs(np.array(large.shape) - 3 * np.array(small.shape)).max() <= 3
    assert set(np.unique(augmentation.mask(np.full((9, 9), -100, dtype=np.int8), DIGEST, 2))) == {-100}


def test_a_run_sees_other_views_from_the_second_epoch_on(run, parts, tmp_path):
    run(parts, "plain", epochs=2, seed=3)
    run(parts, "augmented", epochs=2, seed=3, augment=True)
    plain, augmented = (read_log(tmp_path / name) for name in ("plain", "augmented"))
    assert [line["loss"] for line in plain[:2]] == [line["loss"] for line in augmented[:2]]
    assert plain[2]["loss"] != augmented[2]["loss"]


def test_views_can_be_cached(run, tmp_path):
    parts = make_parts(tmp_path / "parts")
    cache = {"cache_features": tmp_path / "cache", "cache_dtype": "float32"}
    run(parts, "plain", epochs=6, augment=True, cache_features="none")
    run(parts, "cached", epochs=6, augment=True, **cache)
    plain, cached = (read_log(tmp_path / name) for name in ("plain", "cached"))
    for one, other in zip(plain, cached, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
    assert len(list((tmp_path / "cache").glob("*/*.safetensors"))) == 6 * VIEWS
