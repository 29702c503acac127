"""Values of more than 8 bits in image files, with all their bits. Of deep colours, Pillow keeps 8."""

import re
import sys
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from .declared_fbclip import (
    BITS_PER_SAMPLE,
    MIN_IS_WHITE,
    PHOTOMETRIC,
    PLANAR_CONFIGURATION,
    SAMPLE_FORMAT,
    SEPARATE_PLANES,
    SIGNED,
    UNSIGNED,
    declared_white,
    largest_of_ppm,
    precision_of_jpeg2000,
    significant_bits,
    tag,
    white_of_significant_bits,
)
from .depth_fbclip import WHITE_OF_16_BITS

FORMATS_OF_16_BITS = ("JPEG2000", "PNG", "PPM")  # Pillow may hold their values in 32 bits
# Pillow's names for colours of 16 bits in a file, whole or by plane: low byte first, high byte first, or native.
DEEP_COLOURS = re.compile(r"(RGB|RGBA|RGBX|LA|R|G|B|A);16[LBN]")
OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


class Deep(NamedTuple):
    """
    Values of more than 8 bits.

    Args:
        values: `(height, width)` or `(height, width, 3)`, upright.
        white: the value of white, if the file declares it.
        black: the value of black, if the file declares a window. What lies beyond it is clipped then.
        inverted: whether black is white and white is black.
        alpha: the opacity of each pixel, in 8 bits of shape `(height, width)`.
    """

    values: np.ndarray
    white: float | None = None
    black: float | None = None
    inverted: bool = False
    alpha: np.ndarray | None = None


def load_upright(image: Image.Image) -> Image.Image | Deep:
    """Decodes a picture: as Pillow holds it, or its values where there are more than 8 bits."""
    white = bits = colours = low = None
    is_cut = False
    if getattr(image, "tile", None) and getattr(image, "fp", None):  # not read yet
        white, bits = declared_white(image), significant_bits(image)
        colours = _colours_of_ppm(image)
        low = _lower_bytes(image)
        is_cut = image.mode.startswith("RGB") and image.format == "JPEG2000" and precision_of_jpeg2000(image) == 16
    image.load()
    turned = upright(image)
    if is_cut:  # nothing gives the lower bytes
        colours = np.asarray(turned)[:, :, :3].astype(np.uint16) * 257
    if low is not None:
        high, low_bits = (np.asarray(part)[:, :, :3].astype(np.uint16) for part in (turned, upright(low)))
        colours = high << 8 | low_bits
    values = _grey_values(turned, image) if colours is None else colours
    if values is None:
        return turned
    if bits is not None:
        white = white_of_significant_bits(values, bits)
    alpha = np.asarray(turned.getchannel("A")) if turned.mode == "RGBA" else None
    return Deep(values, white, inverted=tag(image, PHOTOMETRIC) == MIN_IS_WHITE, alpha=alpha)


def upright(image: Image.Image) -> Image.Image:
    """The picture, turned as its EXIF data say. Damaged EXIF data are ignored."""
    try:
        turns = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turns else image
    except Exception:  # Pillow raises errors of all kinds for damaged EXIF data
        return image


def _grey_values(turned: Image.Image, image: Image.Image) -> np.ndarray | None:
    """The values of Pillow's deep modes, 16 or 32 bits, integers or floating-point numbers; and signed ones of 8."""
    kind = tag(image, SAMPLE_FORMAT) or UNSIGNED, tag(image, BITS_PER_SAMPLE)
    values = np.asarray(turned)
    if kind == (SIGNED, 8) and turned.mode == "L":
        return values.view(np.int8)
    if turned.mode != "F" and not turned.mode.startswith("I"):
        return None
    if turned.mode == "I" and image.format in FORMATS_OF_16_BITS:
        return values.clip(0, WHITE_OF_16_BITS).astype(np.uint16)
    if kind == (SIGNED, 16):
        return values.astype(np.int16)
    return values.view(np.uint32) if kind == (UNSIGNED, 32) and values.dtype == np.int32 else values


def _colours_of_ppm(image: Any) -> np.ndarray | None:
    """Colours of 16 bits in a binary PPM file, scaled by the largest value that it declares."""
    if image.format != "PPM" or image.tile[0].codec_name != "ppm" or image.mode != "RGB":
        return None
    largest = largest_of_ppm(image) or 0
    count = 3 * image.width * image.height
    image.fp.seek(image.tile[0].offset)
    data = image.fp.read(2 * count) if largest > 255 else b""
    if len(data) < 2 * count:
        return None  # Pillow reads it, or says what is wrong
    values = np.frombuffer(data, ">u2").reshape(image.height, image.width, 3)
    return np.rint(np.minimum(values, largest) * (WHITE_OF_16_BITS / largest)).astype(np.uint16)


def _lower_bytes(image: Any) -> Image.Image | None:
    """
    The lower bytes of colours of 16 bits, of which Pillow gives the upper ones. It gives the lower ones where it is
    told that they come in the other order.
    """
    if image.format not in ("PNG", "TIFF"):
        return None
    _mend_planes(image)
    if not DEEP_COLOURS.fullmatch(_raw_mode(image.tile[0])):
        return None
    image.fp.seek(0)
    again = type(image)(image.fp, "")
    if image.tell():
        again.seek(image.tell())
    again.tile = [_with_raw_mode(tile, _in_other_order(_raw_mode(tile))) for tile in image.tile]
    again.load()
    is_grey = _raw_mode(image.tile[0]).startswith("LA")
    return Image.merge("RGB", [again.getchannel("G")] * 3) if is_grey else again


def _in_other_order(raw_mode: str) -> str:
    # Of grey and alpha with two bytes each, the second byte is the lower one of grey.
    return "RGBA" if raw_mode.startswith("LA") else raw_mode[:-1] + OTHER_ORDER[raw_mode[-1]]


def _mend_planes(image: Any) -> None:
    """Pillow takes the planes of an uncompressed TIFF file with a plane a colour for 8 bits."""
    if tag(image, PLANAR_CONFIGURATION) == SEPARATE_PLANES and tag(image, BITS_PER_SAMPLE) == 16:
        order = "L" if image.tag_v2.prefix == b"II" else "B"
        is_plane = [tile.codec_name == "raw" and _raw_mode(tile) in "RGBA" for tile in image.tile]
        image.tile = [
            _with_raw_mode(tile, f"{_raw_mode(tile)};16{order}") if wrong else tile
            for tile, wrong in zip(image.tile, is_plane, strict=True)
        ]


def _raw_mode(tile: Any) -> str:
    return str(tile.args if isinstance(tile.args, str) else tile.args[0])


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:
    return tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
