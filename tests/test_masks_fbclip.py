"""`load_mask` and `read_mask`: which pixels are anomalous, normal or unknown; how masks turn and shrink."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from small_images import palette_image, row_image

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.masks_fbclip import load_mask, read_mask, resize_mask

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
MARKED = np.zeros((40, 60), np.uint8)
MARKED[5:20, 10:14] = 255
ORIENTATION = 0x0112


@pytest.mark.parametrize(
    "mask",
    [
        row_image(0, 1, 236, mode="L"),
        row_image(0, 255, 255, mode="1"),
        row_image(0, 0.1, 7, mode="F"),
        row_image(0, 1, 65535, mode="I;16"),
        row_image(BLACK, (0, 0, 1), WHITE, mode="RGB"),
        row_image((255, 255, 255, 0), (9, 0, 0, 9), (255,) * 4, mode="RGBA"),
        row_image((255, 0), (1, 1), (255, 255), mode="LA"),
        palette_image([WHITE, BLACK], [1, 0, 0]),
        palette_image([BLACK, RED, BLUE], [0, 1, 2]),
        np.array([[0, 1, 254]], np.uint8),
        np.array([[False, True, True]]),
        torch.tensor([[[-1.0, 0.1, 2.0]]]),
        np.array([[[0], [1], [1]]]),
    ],
    ids=lambda mask: getattr(mask, "mode", None) or f"{mask.dtype}-{tuple(mask.shape)}",
)
def test_mask_is_anomalous_where_above_zero(mask: object) -> None:
    assert load_mask(mask).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.float32])
def test_masks_whose_white_is_0_are_inverted(tmp_path: Path, depth: type) -> None:
    white = 1 if depth == np.float32 else np.iinfo(depth).max
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.array([[white, 0, 0]] * 2, depth), photometric="miniswhite")
    assert load_mask(path).tolist() == [[0, 1, 1]] * 2


def test_objects_that_are_not_masks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^masks\[1\]: array of shape \(2, 4, 3\)"):
        load_mask(np.zeros((2, 4, 3)), name="masks[1]")
    for mask in (np.full((2, 2), np.inf), np.array([["a"]])):
        with pytest.raises(ValueError, match=r"^mask: a mask holds finite numbers"):
            load_mask(mask)
    with pytest.raises(ValueError, match=r"^missing\.png: no such file"):
        load_mask("missing.png")


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_lossy_mask_gives_the_pixels_that_were_drawn(tmp_path: Path, suffix: str, mode: str) -> None:
    drawn = Image.fromarray(MARKED).convert(mode)
    drawn.save(tmp_path / f"mask.{suffix}", quality=60)
    stored = np.asarray(Image.open(tmp_path / f"mask.{suffix}").convert("L"))
    assert ((stored > 0) != (MARKED > 0)).sum() > 20  # the format smears it
    assert np.array_equal(load_mask(tmp_path / f"mask.{suffix}"), MARKED // 255)
    if suffix == "jpg":  # more than 16 shades
        Image.fromarray(stored).save(tmp_path / "again.png")
        assert np.array_equal(load_mask(tmp_path / "again.png"), MARKED // 255)


def test_few_values_are_kinds_and_many_are_shades() -> None:
    kinds = np.arange(16, dtype=np.uint8)[None] * 17  # 0, 17 … 255
    assert load_mask(kinds).sum() == 15
    shades = np.arange(256, dtype=np.uint8)[None]
    assert load_mask(shades).sum() == 128  # 128 … 255
    assert load_mask(shades.astype(np.uint16) * 257).sum() == 128
    assert load_mask(shades // 2).sum() == 254  # none of them is bright


def test_unknown_pixels() -> None:
    assert load_mask(np.array([[0, 1, 255]], np.uint8)).tolist() == [[0, 1, -100]]
    assert load_mask(row_image(0, 1, 255, mode="L")).tolist() == [[0, 1, -100]]
    assert load_mask(np.array([[0, 255]], np.uint8)).tolist() == [[0, 1]]
    assert load_mask(np.array([[0.0, 0.5, math.nan, -100]])).tolist() == [[0, 1, -100, -100]]
    assert load_mask(torch.tensor([[0, 1, -100]])).tolist() == [[0, 1, -100]]


def photograph(tmp_path: Path, orientation: int, width: int = 6, height: int = 4) -> Path:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.new("RGB", (width, height)).save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_turns_as_its_photograph(tmp_path: Path, orientation: int) -> None:
    drawn = np.zeros((4, 6), np.uint8)
    drawn[0, 1] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(drawn).save(tmp_path / "turned.png", exif=exif)
    upright = load_mask(tmp_path / "turned.png")  # by its own data, which are not applied twice
    photo = photograph(tmp_path, orientation)
    assert np.array_equal(read_mask(drawn, photograph=photo).pixels, upright)
    assert np.array_equal(read_mask(tmp_path / "turned.png", photograph=photo).pixels, upright)
    assert read_mask(drawn, photograph=photo).is_turn_certain is (orientation in (1, 5, 6, 7, 8))
    if orientation > 4:  # its shape says that it was drawn on the turned photograph
        assert np.array_equal(read_mask(upright, photograph=photo).pixels, upright)


def test_the_turn_of_a_square_mask_is_in_doubt(tmp_path: Path) -> None:
    drawn = np.zeros((4, 4), np.uint8)
    drawn[0, 1] = 1
    mask = read_mask(drawn, photograph=photograph(tmp_path, 6, width=4))
    assert np.argwhere(mask.pixels).tolist() == [[1, 3]]
    assert mask.is_turn_certain is False
    mask = read_mask(drawn, photograph=photograph(tmp_path, 1, width=4))
    assert (np.argwhere(mask.pixels).tolist(), mask.is_turn_certain) == ([[0, 1]], True)


def test_a_mask_that_vanishes_keeps_its_strongest_pixel() -> None:
    pixels = np.zeros((100, 100), np.int8)
    pixels[41:43, 70] = 1
    resized, vanishes = resize_mask(pixels, (10, 10))
    assert np.argwhere(resized == 1).tolist() == [[4, 7]]
    assert vanishes is True
    labels = FBCLIPProcessor(image_size=10)(masks=[pixels])["mask_labels"]
    assert labels.sum() == labels[0, 4, 7] == 1
    assert resize_mask(np.zeros((100, 100), np.int8), (10, 10))[1] is False
    pixels[40:60, 70:90] = 1
    resized, vanishes = resize_mask(pixels, (10, 10))
    assert (resized.sum(), vanishes) == (4, False)


def test_unknown_pixels_shrink_to_unknown_ones() -> None:
    pixels = np.zeros((8, 8), np.int8)
    pixels[:, 4:] = -100
    pixels[4:, :4] = 1
    resized, _ = resize_mask(pixels, (4, 4))
    assert resized.tolist() == [[0, 0, -100, -100]] * 2 + [[1, 1, -100, -100]] * 2
    labels = FBCLIPProcessor(image_size=4)(masks=[pixels])["mask_labels"]
    assert labels[0].tolist() == resized.tolist()
