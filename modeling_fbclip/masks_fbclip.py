"""Reads masks of every kind as normal, anomalous or unknown pixels; turns and resizes them."""

import os
from collections.abc import Callable
from io import BytesIO
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image
from torch import Tensor

from .deep_fbclip import Deep
from .files_fbclip import MAX_MEGAPIXELS, open_picture, shortened, split_page
from .images_fbclip import ImageSource, channel_axis, to_numpy

UNKNOWN = -100  # as the losses' IGNORE_INDEX
IGNORED = 255  # marks unknown pixels in a mask that otherwise holds 0 and 1
LOSSY = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF", "HEIF")  # formats whose pixels are not exactly what was drawn
GREY = 1 / 8  # of the range: nearer to its ends is nearly black or white
MOST_CLASSES = 16  # values of a mask that numbers kinds of defects; one with more has shades of grey
SWAPPED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Kind = Literal["grey", "colour", "lossy"]
Value = TypeVar("Value")


class Mask(NamedTuple):
    """
    A mask as it was read.

    Args:
        pixels: `int8` of shape `(height, width)`, 0 normal, 1 anomalous, -100 unknown.
        num_values: how many different values its known pixels are stored with.
        grey_share: share of its pixels that are stored with neither nearly black nor nearly white.
        is_turn_certain: false if it was turned with its photograph, and nothing but the photograph says that it must.
    """

    pixels: np.ndarray
    num_values: int
    grey_share: float
    is_turn_certain: bool


def load_mask(mask: ImageSource, name: str = "mask", max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    r"""
    Reads a mask of any kind. Black and transparent pixels are normal, all others anomalous. Shades of grey are cut at
    half: those of a JPEG file or of another lossy format, and more than 16 shades that reach white. 255 is unknown
    beside 0 and 1 in a grey mask, as are -100 and NaN.

    Args:
        mask (as `image` of [`load_rgb_image`]): An array has at most one channel. Its numbers above 0 are anomalous.
        name (`str`, *optional*, defaults to `"mask"`): Name in error messages for a mask without a file name.
        max_megapixels (`float`, *optional*, defaults to 200): As for [`load_rgb_image`].

    Returns:
        `np.ndarray` of shape `(height, width)` and type `int8`: 0 normal, 1 anomalous, -100 unknown.

    Raises:
        `ValueError`: As [`load_rgb_image`].
    """
    return read_mask(mask, name, max_megapixels=max_megapixels).pixels


def read_mask(
    mask: ImageSource,
    name: str = "mask",
    photograph: ImageSource | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Mask:
    r"""
    As [`load_mask`], and what it was read from. The mask turns as the EXIF data of its `photograph` say, unless it has
    such data itself or its shape is that of the turned photograph.
    """
    values, kind, name = _values(mask, name, max_megapixels)
    if values.dtype.kind not in "biuf" or np.isinf(values).any():
        raise ValueError(f"{name}: a mask holds finite numbers, 0 where normal and above 0 where anomalous.")
    present = _present(values)
    is_ignoring = kind == "grey" and len(present) <= 3 and {1, IGNORED} <= set(present.tolist()) <= {0, 1, IGNORED}
    unknown, known = _is_unknown(values, is_ignoring), present[~_is_unknown(present, is_ignoring)]
    marked = values > _cut(values, known, kind == "lossy")
    pixels = np.where(unknown, np.int8(UNKNOWN), marked.astype(np.int8))
    grey_share = _grey_share(values) if len(known) > MOST_CLASSES else 0.0
    turned, is_certain = _turn(pixels, mask, photograph)
    return Mask(turned, len(known), grey_share, is_certain)


def resize_mask(pixels: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, bool]:
    r"""
    A mask at another size. A pixel is anomalous if more than half of its area is, of what is known of it, and unknown
    if less than half of it is known. If no pixel were left anomalous, the one with most of the anomaly is.

    Args:
        pixels (`np.ndarray` of shape `(height, width)`): 0 normal, 1 anomalous, -100 unknown.
        size (`tuple[int, int]`): The height and width to resize to.

    Returns:
        `np.ndarray` of `float32` with the same three values, and whether all but one anomalous pixel vanished.
    """
    share = _shrink(pixels == 1, size)
    is_unknown = pixels == UNKNOWN
    known = _shrink(~is_unknown, size) if is_unknown.any() else np.ones_like(share)
    resized = (share > 0.5 * known).astype(np.float32)
    resized[known < 0.5] = UNKNOWN
    vanishes = bool((pixels == 1).any() and not (resized == 1).any())
    if vanishes:
        resized[np.unravel_index(share.argmax(), share.shape)] = 1
    return resized, vanishes


def _shrink(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = Image.fromarray(pixels.astype(np.float32))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))  # antialiased


def _values(mask: ImageSource, name: str, max_megapixels: float) -> tuple[np.ndarray, Kind, str]:
    """The values of a mask, their kind, and its name. Of colours, the values are the highest of their channels."""
    if isinstance(mask, np.ndarray | Tensor):
        name = shortened(name)
        values = to_numpy(mask, name)
        axis = channel_axis(mask, (1,))
        values = values if axis is None else values.squeeze(axis)
        if values.ndim != 2 or values.size == 0:
            raise ValueError(f"{name}: array of shape {values.shape}, but a mask has (height, width).")
        return values, "grey", name
    kind: Kind = "lossy" if _header(mask, lambda opened: opened.format) in LOSSY else "grey"
    picture, name = open_picture(mask, name, max_megapixels)
    if isinstance(picture, Deep):
        values = picture.values if picture.values.ndim == 2 else picture.values.max(axis=2)
        if picture.inverted:
            values = (picture.white or (np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1)) - values
        is_seen = picture.alpha is None or not picture.alpha.any() or picture.alpha > 0
        return values * is_seen, kind, name
    if picture.mode == "P" or len(picture.getbands()) > 1 or picture.has_transparency_data:
        # The colour counts: index 0 of a palette may have any colour.
        # Through RGB, as Pillow does not convert every mode to RGBA.
        picture = picture if picture.has_transparency_data else picture.convert("RGB")
        *colours, alpha = np.moveaxis(np.asarray(picture.convert("RGBA")), 2, 0)
        highest = np.max(colours, axis=0) * ((alpha > 0) | (alpha.max() == 0))
        return highest, "colour" if kind == "grey" else kind, name
    return np.asarray(picture), kind, name


def _present(values: np.ndarray) -> np.ndarray:
    """The different values, ascending."""
    if values.dtype == np.uint8:  # faster than sorting
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return np.unique(values)


def _is_unknown(values: np.ndarray, is_ignoring: bool) -> np.ndarray:
    unknown = np.isnan(values) | (values == UNKNOWN)
    return unknown | (values == IGNORED) if is_ignoring else unknown


def _cut(values: np.ndarray, known: np.ndarray, is_lossy: bool) -> float:
    """The value above which a pixel is anomalous."""
    highest = int(known[-1]) if values.dtype.kind in "iu" and known.size else 0
    half = 127 if highest <= 255 else 32767
    has_shades = len(known) > MOST_CLASSES and highest > half
    return half if highest and (is_lossy or has_shades) else 0


def _grey_share(values: np.ndarray) -> float:
    white = 1 if values.dtype.kind == "f" and values.max() <= 1 else 255 if values.max() <= 255 else 65535
    return float(np.mean((values > GREY * white) & (values < (1 - GREY) * white)))


def _turn(pixels: np.ndarray, mask: ImageSource, photograph: ImageSource | None) -> tuple[np.ndarray, bool]:
    """The pixels turned as the EXIF data of the photograph say, and whether there is no doubt about it."""
    orientation, size = _orientation(photograph)
    if orientation not in TURNS or _orientation(mask)[0] in TURNS:
        return pixels, True
    swaps = orientation in SWAPPED and size[0] != size[1]
    if swaps and _is_like(pixels.shape[::-1], size[::-1]):
        return pixels, True
    picture = Image.fromarray(pixels.view(np.uint8)).transpose(TURNS[orientation])
    return np.asarray(picture).view(np.int8), swaps


def _is_like(size: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether a width and height are nearer to the others than to these exchanged."""
    return (size[0] > size[1]) == (other[0] > other[1]) and size[0] != size[1]


def _orientation(image: object) -> tuple[int, tuple[int, int]]:
    """The EXIF orientation of an image as it is stored, and its width and height; 1 if it has none."""

    def look(opened: Image.Image) -> tuple[int, tuple[int, int]]:
        return opened.getexif().get(ExifTags.Base.Orientation, 1), opened.size

    return _header(image, look) or (1, (1, 1))


def _header(image: object, look: Callable[[Image.Image], Value]) -> Value | None:
    """What the header of an image file or a PIL image says; `None` for anything else, and for a damaged header."""
    try:
        if isinstance(image, Image.Image):
            return look(image)
        if isinstance(image, str | os.PathLike | bytes):
            file = BytesIO(image) if isinstance(image, bytes) else split_page(os.fspath(image))[0]
            with Image.open(file) as opened:
                return look(opened)
    except Exception:  # Pillow raises errors of all kinds for damaged files; reading the pixels tells which
        return None
    return None
