"""What files declare about their white: then one picture gives one result, whatever `white_level` says."""

import base64
from io import BytesIO

import numpy as np
import pytest
from deep_files import png16, tiff16
from PIL import Image

from modeling_fbclip.images_fbclip import load_rgb_image, undeclared_maximum

GREY = np.random.default_rng(0).integers(3, 235, (20, 30)).astype(np.uint16)
TWELVE = GREY * 16 + 7  # 12 bits, not scaled up to 16
MAX_SAMPLE_VALUE, SAMPLE_FORMAT, SIGNED = 281, 339, 2
# Values 0, 65, 130 … in 12 bits, of 8 x 8 pixels, which Pillow cannot write.
JPEG2000_OF_12_BITS = base64.b64decode(
    "/0//UQApAAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABCwEB/1IADAAAAAEAAAQEAAH/XAAEQGD/ZAAlAAFDcmVhdGVkIGJ5IE9w"
    "ZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABmAAH/k9/hVBIsQqeXlbFDDtYoP97oKcVIuDRWEuF5DpiRhU9D0Zh+EpvOO8N5vXFJxoU3gmJW"
    "Fbc5znXqSkAMwCgAB0Rl1SPMU4YLXGfa6ymrhOuAcNhsNhsNhsP/2Q=="
)


def netpbm(kind: bytes, largest: int, values: np.ndarray) -> bytes:
    height, width = values.shape[:2]
    header = b"%s %d %d %d\n" % (kind, width, height, largest)
    return header + (
        b" ".join(b"%d" % value for value in values.ravel()) if kind == b"P2" else values.astype(">u2").tobytes()
    )


def jpeg2000_of_16_bits(values: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(values).save(file, "JPEG2000")
    return file.getvalue()


def grey(data: bytes, white_level: float | None = None) -> np.ndarray:
    return np.asarray(load_rgb_image(data, white_level=white_level))[:, :, 0].astype(int)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff16(TWELVE, tags={MAX_SAMPLE_VALUE: 4095}), GREY),
        (png16(TWELVE, significant_bits=12), GREY),
        (png16(np.dstack([TWELVE] * 3), significant_bits=12), GREY),
        (png16(GREY * 257, significant_bits=12), GREY),
        (netpbm(b"P5", 4095, TWELVE), GREY),
        (netpbm(b"P2", 4095, TWELVE), GREY),
        (netpbm(b"P6", 4095, np.dstack([TWELVE] * 3)), GREY),
        (JPEG2000_OF_12_BITS, np.arange(64).reshape(8, 8) * 65 * 255 / 4095),
    ],
    ids=["tiff", "sbit-unscaled", "sbit-unscaled-rgb", "sbit-scaled", "pgm", "pgm-text", "ppm", "jpeg2000"],
)
def test_a_declared_white_counts_more_than_white_level(data: bytes, expected: np.ndarray) -> None:
    for white_level in (None, 4095, 1023):
        assert np.abs(grey(data, white_level) - expected).max() <= 1
    assert undeclared_maximum(data) is None


@pytest.mark.parametrize("scale", [16, 65535 / 4095], ids=["shifted", "rounded"])
def test_a_dark_png_that_scales_its_significant_bits_as_png_demands_stays_dark(scale: float) -> None:
    values = np.rint(np.arange(255).reshape(15, 17) * scale).astype(np.uint16)
    assert values.max() < 4096
    assert np.abs(grey(png16(values, significant_bits=12)) - values / 257).max() <= 0.5


@pytest.mark.parametrize(
    "data",
    [
        png16(TWELVE),
        tiff16(TWELVE),
        tiff16(TWELVE, tags={MAX_SAMPLE_VALUE: int(TWELVE.max())}),  # the brightest pixel states no depth
        netpbm(b"P5", 65535, TWELVE),
        netpbm(b"P2", 65535, TWELVE),
        jpeg2000_of_16_bits(TWELVE),
        tiff16(TWELVE.astype(np.int16), tags={SAMPLE_FORMAT: SIGNED}),
    ],
    ids=["png", "tiff", "tiff-brightest", "pgm", "pgm-text", "jpeg2000", "tiff-signed"],
)
def test_where_only_16_bits_are_declared_white_level_counts(data: bytes) -> None:
    assert np.abs(grey(data, 4095) - GREY).max() <= 1
    assert undeclared_maximum(data) == TWELVE.max()


def test_signed_16_bits_end_at_32767() -> None:
    values = np.array([[0, 16384, 32767]], np.int16)
    assert grey(tiff16(values, tags={SAMPLE_FORMAT: SIGNED})).tolist() == [[0, 128, 255]]


def test_floating_point_numbers_up_to_1_need_no_white_level() -> None:
    for scale, white_level in ((1, None), (1, 4095), (4095, 4095)):
        values = np.array([[0, 0.2, 1]], np.float32) * scale
        assert np.asarray(load_rgb_image(values, white_level=white_level))[0, :, 0].tolist() == [0, 51, 255]
        assert np.asarray(load_rgb_image(Image.fromarray(values), white_level=white_level))[0, 2, 0] == 255
