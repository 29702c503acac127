"""Settings of the image processor, on loading and for one call: each is heeded or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from modeling_fbclip import FBCLIPProcessor

BLUE = Image.new("RGB", (9, 7), (0, 51, 255))
IN_BYTES, IN_UNITS = [0.0, 51.0, 255.0], [0.0, 0.2, 1.0]
NORMALISED = [-1.792263, -0.986701, 2.145897]  # less CLIP's mean, over its standard deviation
PROCESSOR = FBCLIPProcessor(image_size=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    PROCESSOR.save_pretrained(tmp_path)
    return tmp_path


EFFECTS: list[tuple[dict[str, Any], tuple[int, int], list[float]]] = [
    ({}, (8, 8), NORMALISED),
    ({"do_normalize": False}, (8, 8), IN_UNITS),
    ({"do_normalize": False, "size": 4}, (4, 4), IN_UNITS),
    ({"size": (3, 5)}, (3, 5), NORMALISED),
    ({"size": {"height": 3, "width": 5}}, (3, 5), NORMALISED),
    ({"do_resize": False}, (7, 9), NORMALISED),
    ({"do_resize": False, "size": 4}, (7, 9), NORMALISED),
    ({"do_rescale": False, "do_normalize": False}, (8, 8), IN_BYTES),
    ({"rescale_factor": 1 / 51, "do_normalize": False}, (8, 8), [0.0, 1.0, 5.0]),
    ({"image_mean": [0.0, 0.2, 0.5], "image_std": [1.0, 1.0, 0.5]}, (8, 8), [0.0, 0.0, 1.0]),
    ({"do_normalize": None, "size": None}, (8, 8), NORMALISED),
]


def assert_pixels(pixel_values: torch.Tensor, size: tuple[int, int], values: list[float]) -> None:
    expected = torch.tensor(values).view(1, 3, 1, 1).expand(1, 3, *size)
    torch.testing.assert_close(pixel_values, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("settings", "size", "values"), EFFECTS)
def test_a_setting_has_its_effect_in_a_call_and_on_loading(
    settings: dict[str, Any], size: tuple[int, int], values: list[float], folder: Path
) -> None:
    assert_pixels(PROCESSOR(images=BLUE, **settings)["pixel_values"], size, values)
    assert_pixels(PROCESSOR(images=BLUE, images_kwargs=settings)["pixel_values"], size, values)
    for cls in (FBCLIPProcessor, AutoProcessor):
        assert_pixels(cls.from_pretrained(folder, **settings)(images=BLUE)["pixel_values"], size, values)
    assert_pixels(PROCESSOR(images=BLUE)["pixel_values"], (8, 8), NORMALISED)  # a call changes nothing for the next


def test_a_filter_is_taken() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    pixels = PROCESSOR(images=image, resample=Image.Resampling.NEAREST, do_normalize=False, do_rescale=False)
    expected = np.array(image.resize((8, 8), Image.Resampling.NEAREST)).transpose(2, 0, 1)
    assert pixels["pixel_values"][0].tolist() == expected.tolist()


def test_settings_of_loading_are_saved_and_overridden_by_a_call(folder: Path) -> None:
    FBCLIPProcessor.from_pretrained(folder, do_normalize=False, size=4).save_pretrained(folder)
    loaded = FBCLIPProcessor.from_pretrained(folder)
    assert loaded.image_size == (4, 4)
    assert_pixels(loaded(images=BLUE)["pixel_values"], (4, 4), IN_UNITS)
    assert_pixels(loaded(images=BLUE, do_normalize=True, size=6)["pixel_values"], (6, 6), NORMALISED)
    assert_pixels(loaded(images=BLUE, size=6, images_kwargs={"size": 2})["pixel_values"], (2, 2), IN_UNITS)


@pytest.mark.parametrize("unknown", ["do_center_crop", "crop_size", "do_convert_rgb", "text", "images_kwarg"])
def test_an_unknown_setting_is_refused(unknown: str, folder: Path) -> None:
    with pytest.raises(TypeError, match=f"^{unknown}: no setting of the image processor; it has do_resize, size"):
        PROCESSOR(images=BLUE, **{unknown: True})
    with pytest.raises(TypeError, match=f"^{unknown}: no setting"):
        PROCESSOR(images=BLUE, images_kwargs={unknown: True})
    for cls in (FBCLIPProcessor, AutoProcessor):
        with pytest.raises(TypeError, match=f"^{unknown}: no setting"):
            cls.from_pretrained(folder, **{unknown: True})
    _, unused = FBCLIPProcessor.from_pretrained(folder, return_unused_kwargs=True, **{unknown: True})
    assert unused[unknown] is True


@pytest.mark.parametrize("size", [0, -3, 4.0, "4", (4, 0), (4, 4.5), [4, 4, 4], {"shortest_edge": 4}, {"height": 4}])
def test_a_wrong_size_is_refused(size: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^`size` is .*, but must be a number of pixels, or a height and a width"):
        PROCESSOR(images=BLUE, size=size)
    with pytest.raises(ValueError, match=r"^`size` is "):
        FBCLIPProcessor.from_pretrained(folder, size=size)


def test_two_sizes_on_loading_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="`size` and `image_size` are the same setting; pass one"):
        FBCLIPProcessor.from_pretrained(folder, size=4, image_size=8)


def test_without_tensors_there_are_lists_also_of_unlike_sizes() -> None:
    images, masks = [BLUE, BLUE.resize((3, 2))], [np.eye(7, 9), None]
    inputs = PROCESSOR(images=images, masks=masks, return_tensors=None, do_resize=False)
    assert [type(each) for each in (inputs["pixel_values"], inputs["mask_labels"])] == [list, list]
    assert [array.shape for array in inputs["pixel_values"]] == [(3, 7, 9), (3, 2, 3)]
    assert [array.dtype for array in inputs["pixel_values"]] == [np.float32, np.float32]
    assert [array.shape for array in inputs["mask_labels"]] == [(7, 9), (2, 3)]
    assert [array.sum() for array in inputs["mask_labels"]] == [7, 0]
    with pytest.raises(ValueError, match=r"`pixel_values` of the shapes .*\(3, 2, 3\).* make no batch; resize"):
        PROCESSOR(images=images, do_resize=False)


def test_masks_that_are_not_resized_keep_their_pixels() -> None:
    mask = np.array([[0, 1, 0], [np.nan, 0, 1]])
    labels = PROCESSOR(masks=[mask, 1 - mask], do_resize=False)["mask_labels"]
    assert labels.tolist() == [[[0, 1, 0], [-100, 0, 1]], [[1, 0, 1], [-100, 1, 0]]]
    assert labels.dtype == torch.float32
    with pytest.raises(ValueError, match=r"^masks\[0\] is None, which has no size of its own; pass its image"):
        PROCESSOR(masks=[None], do_resize=False)
    with pytest.raises(
        ValueError, match=r"^masks\[0\] has the size \(2, 3\), but its image \(7, 9\), and `do_resize`"
    ):
        PROCESSOR(images=BLUE, masks=[mask], do_resize=False)
    resized = PROCESSOR(images=BLUE, masks=[mask], size=(2, 6))["mask_labels"]
    assert resized.tolist() == [[[0, 0, 1, 1, 0, 0], [-100, -100, 0, 0, 1, 1]]]
