"""Colours of 16 bits, of which Pillow keeps 8: they are read whole."""

import logging
from io import BytesIO

import numpy as np
import pytest
from deep_files import png16, tiff16
from PIL import Image

from modeling_fbclip import depth_fbclip
from modeling_fbclip.images_fbclip import load_rgb_image
from modeling_fbclip.masks_fbclip import load_mask

COLOURS = np.random.default_rng(0).integers(3, 235, (20, 30, 3)).astype(np.uint16)
TWELVE = COLOURS * 16 + 7
OPAQUE = np.full((20, 30, 1), 65535, np.uint16)


def ppm(values: np.ndarray) -> bytes:
    return b"P6 %d %d 65535\n" % values.shape[1::-1] + values.astype(">u2").tobytes()


def files(values: np.ndarray) -> dict[str, bytes]:
    """The colours in every kind of file with 16 bits a channel."""
    with_alpha = np.dstack([values, OPAQUE])
    return {
        "png": png16(values),
        "png with alpha": png16(with_alpha),
        "ppm": ppm(values),
        "tiff": tiff16(values),
        "tiff, high byte first": tiff16(values, ">"),
        "tiff, deflated": tiff16(values, deflated=True),
        "tiff, deflated, high byte first": tiff16(values, ">", deflated=True),
        "tiff, planes": tiff16(values, planes=True),
        "tiff, planes, high byte first": tiff16(values, ">", planes=True),
        "tiff with alpha": tiff16(with_alpha),
    }


def difference(source: object, white_level: float | None = None, expected: np.ndarray = COLOURS) -> int:
    return int(np.abs(np.asarray(load_rgb_image(source, white_level=white_level)).astype(int) - expected).max())


@pytest.mark.parametrize("kind", files(COLOURS))
def test_12_bits_in_16_bit_colours_are_the_8_bit_picture(kind: str) -> None:
    data = files(TWELVE)[kind]
    assert difference(data, 4095) <= 1
    assert difference(files(COLOURS * 257)[kind]) <= 1
    with Image.open(BytesIO(data)) as opened:
        assert difference(opened, 4095) <= 1


def test_grey_with_alpha() -> None:
    grey, alpha = TWELVE[:, :, :1], OPAQUE.copy()
    alpha[0, 0] = 0
    pixels = np.asarray(load_rgb_image(png16(np.dstack([grey, alpha])), white_level=4095)).astype(int)
    assert pixels[0, 0].tolist() == [255] * 3
    assert np.abs(pixels - COLOURS[:, :, :1])[1:].max() <= 1


def test_dark_colours_give_the_warning(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in files(TWELVE).values():
        monkeypatch.setattr(depth_fbclip, "_warned", set())
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            load_rgb_image(data, name="part")
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith(f"part: 16 bits, but no value above {TWELVE.max()}")


def test_colours_turn_with_exif(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_fbclip, "_warned", {""})
    turned = tiff16(TWELVE, tags={0x0112: 6})
    assert difference(turned, 4095, np.rot90(COLOURS, -1)) <= 1


def test_a_mask_of_16_bit_colours_counts_its_lower_bits() -> None:
    values = np.zeros((2, 3, 3), np.uint16)
    values[1, 2, 1] = 3
    assert np.argwhere(load_mask(png16(values))).tolist() == [[1, 2]]
    assert np.argwhere(load_mask(tiff16(values[:, :, 1]))).tolist() == [[1, 2]]
