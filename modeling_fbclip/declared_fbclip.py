"""What an image file declares about its white, read before its pixels are."""

import struct
from typing import Any

import numpy as np

from .depth_fbclip import WHITE_OF_16_BITS, exceeds

# Tags of a TIFF file.
BITS_PER_SAMPLE, PHOTOMETRIC, MAX_SAMPLE_VALUE, PLANAR_CONFIGURATION, SAMPLE_FORMAT = 258, 262, 281, 284, 339
MIN_IS_WHITE, SEPARATE_PLANES, UNSIGNED, SIGNED = 0, 2, 1, 2
JPEG2000_SIZES = b"\xff\x4f\xff\x51"  # the two markers at the start of the codestream
JPEG2000_PRECISION = 42  # bytes from there to the precision of the first component
JPEG2000_HEADER = 65536  # bytes in which they are looked for


def declared_white(image: Any) -> int | None:
    """
    The white that an unread file of more than 8 bits declares, or of 8 with a sign.

    A TIFF file does by 9 to 15 bits per sample, or by a largest value that states a number of bits, not the brightest
    pixel. PPM files with a largest value and JPEG 2000 with a precision are scaled to 16 bits by Pillow.
    """
    bits, largest = tag(image, BITS_PER_SAMPLE) or 0, tag(image, MAX_SAMPLE_VALUE) or 0
    if bits == 8 and tag(image, SAMPLE_FORMAT) == SIGNED:
        return 2**7 - 1
    if 8 < bits < 16:
        return 2**bits - 1
    if bits == 16 and 255 < largest < WHITE_OF_16_BITS and not largest & (largest + 1):
        return largest
    is_scaled = (image.format == "PPM" and (largest_of_ppm(image) or WHITE_OF_16_BITS) < WHITE_OF_16_BITS) or (
        image.format == "JPEG2000" and (precision_of_jpeg2000(image) or 16) < 16
    )
    return WHITE_OF_16_BITS if is_scaled else None


def white_of_significant_bits(values: np.ndarray, bits: int) -> int:
    """
    The white of a PNG file that declares fewer significant bits (sBIT) than 16. By PNG's specification, values are
    scaled up to 16 bits, by a shift or rounded. Some programs forget it. They are recognised by values within these
    bits of which many are neither a multiple of the step nor one above it.
    """
    unscaled = 2**bits - 1
    is_between_steps = values % 2 ** (16 - bits) > 1
    return unscaled if exceeds(is_between_steps, 0) and not exceeds(values, unscaled) else WHITE_OF_16_BITS


def significant_bits(image: Any) -> int | None:
    """The largest number in an unread PNG file's sBIT chunk, which Pillow does not tell; only if it is below 16."""
    if image.format != "PNG":
        return None
    place = image.fp.tell()
    image.fp.seek(8)
    bits = 16
    while len(header := image.fp.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind == b"sBIT":
            bits = max(image.fp.read(min(length, 3)), default=16)
        if kind in (b"sBIT", b"IDAT"):  # it stands before the pixels
            break
        image.fp.seek(length + 4, 1)
    image.fp.seek(place)
    return bits if 0 < bits < 16 else None


def largest_of_ppm(image: Any) -> int | None:
    """The largest value that an unread PPM file declares; `None` where Pillow needs none to read it."""
    args = image.tile[0].args
    return args[1] if isinstance(args, tuple) and isinstance(args[1], int) else None


def precision_of_jpeg2000(image: Any) -> int | None:
    """The bits of the first component of an unread JPEG 2000 file."""
    place = image.fp.tell()
    image.fp.seek(0)
    header = image.fp.read(JPEG2000_HEADER)
    image.fp.seek(place)
    start = header.find(JPEG2000_SIZES)
    precision = header[start + JPEG2000_PRECISION :][:1] if start >= 0 else b""
    return (precision[0] & 0x7F) + 1 if precision else None


def tag(image: Any, number: int) -> int | None:
    """The first value of a TIFF file's tag, if it is a whole number."""
    value = getattr(image, "tag_v2", {}).get(number)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None
