"""Photographs that visitors send: how large they may be, and how they are decoded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image

from modeling_fbclip import FBCLIPProcessor, FBCLIPReferences

MAX_BYTES = 10_000_000  # of one file
MAX_PIXELS = 25_000_000  # of one photograph, checked before it is decoded
MAX_FILES = 16  # at once
MAX_TOTAL_BYTES = 40_000_000  # of the files of one request
MAX_NAME = 100  # characters of a file's name that are shown
# The formats of phones, cameras and inspection systems. Visitors cannot reach Pillow's other decoders, one of which
# runs Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


class Photo(NamedTuple):
    """A file that was sent: its name, which is only shown, and its bytes."""

    name: str
    data: bytes


@dataclass(eq=False)
class PhotoSet:
    """
    Photographs that others are compared with, and what was made of them, by the examiner's key. Both go when the page
    that holds the set goes.
    """

    photos: Sequence[Photo] = ()
    made: dict[Any, FBCLIPReferences] = field(default_factory=dict)


def decode(photo: Photo, processor: FBCLIPProcessor) -> Image.Image:
    """
    The photograph as the model's processor reads it: upright, in mode `"RGB"`.

    Raises:
        ValueError: in one line, if it is not an image, is damaged or has more than `MAX_PIXELS` pixels.
    """
    try:
        image = Image.open(BytesIO(photo.data), formats=FORMATS)
    except Exception as error:  # Pillow's decoders raise errors of many types
        raise ValueError(f"{photo.name}: not an image that can be read here; send JPEG, PNG, WebP or TIFF.") from error
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        limit = f"at most {MAX_PIXELS / 1e6:.0f} fit"
        raise ValueError(f"{photo.name}: {pixels / 1e6:.1f} megapixels are too many; {limit}.")
    return processor.read_image(image, photo.name)


def shown_name(name: object) -> str:
    """The name of a file as it is shown: on one line, and not longer than `MAX_NAME`."""
    text = " ".join(str(name or "photograph").split())
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"
