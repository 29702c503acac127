"""TIFF pictures that Pillow does not know, such as floating-point colours: by tifffile, imported when one is read."""

from typing import BinaryIO

import numpy as np

from .declared_fbclip import MIN_IS_WHITE
from .deep_fbclip import Deep
from .limits_fbclip import library, require_page, require_size

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two of BigTIFF


def read_tiff(stream: BinaryIO, page: int | None, max_pixels: float) -> Deep:
    r"""
    Reads a TIFF picture with tifffile.

    Args:
        stream: the file.
        page: the number of a page, from 0. Defaults to the first.
        max_pixels: a larger page is refused before it is decoded.

    Raises:
        ValueError: the library is missing, the page does not exist, is too large or has other channels than grey or
            RGB, with or without alpha.
    """
    stream.seek(0)
    with library("tifffile", "tiff").TiffFile(stream) as file:
        require_page(page or 0, len(file.pages))
        found = file.pages[page or 0]
        require_size(found.imagewidth * found.imagelength, max_pixels)
        values = found.asarray()
        values = np.moveaxis(values, 0, 2) if found.axes == "SYX" else values
        bits, inverted = found.bitspersample, found.photometric == MIN_IS_WHITE
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or not 1 <= channels <= 4:
        raise ValueError(f"holds values of shape {values.shape}, but a picture is grey or RGB, with or without alpha")
    if values.ndim == 3:
        values = values[:, :, :3] if channels > 2 else values[:, :, 0]
    return Deep(values, 2**bits - 1 if 8 < bits < 16 and values.dtype.kind == "u" else None, inverted=inverted)
