"""Reads images of every kind."""

import os
from io import IOBase

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .deep_fbclip import Deep
from .depth_fbclip import exceeds, to_8_bits
from .files_fbclip import MAX_MEGAPIXELS, open_picture, shortened
from .medical_fbclip import MEDICAL_SUFFIXES

ImageSource = str | os.PathLike | bytes | bytearray | IOBase | Image.Image | np.ndarray | Tensor

# How the names of files in a folder end that are taken for images: what Pillow and the extras read.
_OF_PILLOW = (
    ".apng .avif .bmp .bw .cur .dcx .dds .dib .fit .fits .gif .heic .heif .hif .icb .icns .ico .im .j2c .j2k .jfif "
    ".jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .msp .pbm .pcx .pfm .pgm .png .pnm .ppm .psd .pxr .qoi .ras .rgb .rgba "
    ".sgi .tga .tif .tiff .vda .vst .webp .xbm .xpm"
)
IMAGE_SUFFIXES = (*_OF_PILLOW.split(), *MEDICAL_SUFFIXES)
NUM_CHANNELS = (1, 3, 4)
WHITE_OF_8_BITS = 255


def load_rgb_image(
    image: ImageSource, name: str = "image", white_level: float | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> Image.Image:
    r"""
    Reads an image of any kind as 8-bit RGB, upright as its EXIF data says.

    Transparent pixels become white, unless all are transparent. Of an animation or a stack of pages, the first one is
    read. Values of more than 8 bits are scaled by what the file declares, such as the bits per sample of a TIFF file,
    else by `white_level`, else by the number type. See [`to_8_bits`].

    Args:
        image (path, `bytes`, open file, base64 text, data URI, `PIL.Image.Image`, `np.ndarray` or `torch.Tensor`):
            A path may end with `#n`: page, frame or slice `n`, from 0. An array is of shape `(height, width)`,
            `(height, width, channels)` or `(channels, height, width)` with 1, 3 or 4 channels. Arrays hold `uint8`,
            `uint16` or `bool`, or floating-point numbers in `[0, 1]`. If both layouts fit, the channels of a NumPy
            array are last, those of a tensor first.
        name (`str`, *optional*, defaults to `"image"`):
            Name in error messages for an image without a file name.
        white_level (`float`, *optional*):
            The value of white in integers of more than 8 bits and in floating-point numbers above 1, where the file
            does not declare it.
        max_megapixels (`float`, *optional*, defaults to 200): A larger image is refused before it is decoded.

    Returns:
        `PIL.Image.Image`: The image in mode `"RGB"`.

    Raises:
        `ValueError`: In one line that names the file: it is missing, empty, cut off, damaged, too large or not an
        image, it needs a library that is not installed, or the array has another shape, type or range.
    """
    if isinstance(image, np.ndarray | Tensor):
        return _flatten(_picture_from_array(image, shortened(name), white_level))
    picture, name = open_picture(image, name, max_megapixels)
    if isinstance(picture, Image.Image):
        return _flatten(picture)
    return _flatten(_deep_to_8_bits(picture, name, white_level))


def undeclared_maximum(image: ImageSource, max_megapixels: float = MAX_MEGAPIXELS) -> int | None:
    r"""
    The largest value of an image whose white only `white_level` can tell: integers of more than 8 bits, in a file that
    does not declare their white. `None` for other images.

    Raises:
        `ValueError`: As [`load_rgb_image`].
    """
    if isinstance(image, np.ndarray | Tensor):
        values, white = to_numpy(image, "image"), None
    else:
        picture, _ = open_picture(image, "image", max_megapixels)
        if isinstance(picture, Image.Image):
            return None
        values, white = picture.values, picture.white
    is_deep = values.dtype.kind in "iu" and values.dtype.itemsize > 1
    return int(values.max(initial=0)) if white is None and is_deep else None


def _flatten(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if np.asarray(picture.getchannel("A")).any():  # else the channel is not in use
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _deep_to_8_bits(deep: Deep, name: str, white_level: float | None) -> Image.Image:
    values, white = deep.values, deep.white
    if deep.black is not None and white is not None:
        values, white = (values - deep.black).clip(0, white - deep.black), white - deep.black
    elif white is None and values.dtype.kind == "f":
        # Pillow itself makes numbers up to 255 of an 8-bit image.
        white = (white_level or WHITE_OF_8_BITS) if exceeds(values, 1) else 1
    pixels = to_8_bits(values, name, white or white_level)
    picture = Image.fromarray(255 - pixels if deep.inverted else pixels)
    if deep.alpha is not None:
        picture.putalpha(Image.fromarray(deep.alpha))
    return picture


def _picture_from_array(image: np.ndarray | Tensor, name: str, white_level: float | None) -> Image.Image:
    values = to_numpy(image, name)
    axis = channel_axis(image, NUM_CHANNELS)
    if values.size == 0 or (values.ndim != 2 and axis is None):
        raise ValueError(
            f"{name}: array of shape {values.shape}, but an image has (height, width), (height, width, "
            "channels) or (channels, height, width), with 1, 3 or 4 channels."
        )
    if axis is not None:
        values = np.moveaxis(values, axis, 2)
        values = values[:, :, 0] if values.shape[2] == 1 else values
    kind, is_known = values.dtype.kind, values.dtype in (np.uint8, np.uint16)
    if white_level is None and kind in "iu" and not is_known:
        raise ValueError(
            f"{name}: {values.dtype} values from {values.min()} to {values.max()}, but an array holds uint8, uint16 "
            "or bool, or floating-point numbers from 0 to 1; other integers need the value of white as `white_level`."
        )
    white = 1 if kind == "f" and not exceeds(values, 1) else white_level
    return Image.fromarray(np.ascontiguousarray(to_8_bits(values, name, white)))


def channel_axis(image: np.ndarray | Tensor, num_channels: tuple[int, ...]) -> int | None:
    axes = (0, 2) if isinstance(image, Tensor) else (2, 0)
    return next((axis for axis in axes if image.ndim == 3 and image.shape[axis] in num_channels), None)


def to_numpy(image: np.ndarray | Tensor, name: str) -> np.ndarray:
    if not isinstance(image, Tensor):
        return image
    try:
        image = image.detach().cpu().resolve_conj().resolve_neg()
        return (image.float() if image.is_floating_point() and image.dtype != torch.float64 else image).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:  # sparse, quantised, on "meta"
        raise ValueError(f"{name}: {image.dtype} values that cannot be read; pass a plain tensor.") from error
