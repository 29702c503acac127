"""Photographs that strangers send: how large they may be, and how their bytes become pixels."""

from io import BytesIO
from typing import NamedTuple

from PIL import Image

from modeling_fbclip.images_fbclip import load_rgb_image

MAX_BYTES = 10_000_000  # of one file
MAX_PIXELS = 25_000_000  # of one photograph, known before a pixel is decoded
MAX_FILES = 16  # at once
MAX_TOTAL_BYTES = 40_000_000  # of those together
# What phones, cameras and inspection systems write. Other decoders of Pillow, such as the one that runs
# Ghostscript, stay out of reach.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


class Photo(NamedTuple):
    """A file as it was sent: the name that the sender gave it, which is shown and never opened, and its bytes."""

    name: str
    data: bytes


def decode(photo: Photo) -> Image.Image:
    """
    The photograph, upright, in mode `"RGB"`.

    Raises:
        ValueError: in one line, if it is no image, is damaged or has more than `MAX_PIXELS` pixels.
    """
    with _opened(photo) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(
                f"{photo.name}: {image.width * image.height / 1e6:.1f} megapixels are too many; at most "
                f"{MAX_PIXELS / 1e6:.0f} fit."
            )
        return load_rgb_image(image, photo.name)


def _opened(photo: Photo) -> Image.Image:
    try:
        return Image.open(BytesIO(photo.data), formats=FORMATS)
    except Exception as error:  # Pillow's readers raise errors of every kind on what is no image
        raise ValueError(f"{photo.name}: not an image that can be read here; send JPEG, PNG, WebP or TIFF.") from error
