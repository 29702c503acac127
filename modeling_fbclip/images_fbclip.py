"""Reads images of every kind; resizes and smooths anomaly maps."""

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .depth_fbclip import WHITE_OF_16_BITS, declared_white, exceeds, min_is_white, to_8_bits

ImageSource = str | os.PathLike | Image.Image | np.ndarray | Tensor

# Files in a folder that are taken for images: photographs and scans in a format that Pillow reads.
IMAGE_SUFFIXES = frozenset(
    {".apng", ".avif", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf"}
    | {
        ".jpg",
        ".jpx",
        ".mpo",
        ".pbm",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".qoi",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    }
)
NUM_CHANNELS = (1, 3, 4)
FORMATS_OF_16_BITS = ("JPEG2000", "PNG", "PPM")  # Pillow may hold their values in 32 bits


def load_rgb_image(image: ImageSource, name: str = "image", white_level: float | None = None) -> Image.Image:
    r"""
    Reads an image of any kind as 8-bit RGB, upright as its EXIF data says.

    Transparent pixels become white, unless all are transparent. Of an animation or a stack of pages, the first one is
    read. Values of more than 8 bits are scaled by what the file declares: its number type, the bits per sample of a
    TIFF file, and whether 0 is white. See [`to_8_bits`].

    Args:
        image (`str`, `os.PathLike`, `PIL.Image.Image`, `np.ndarray` or `torch.Tensor`):
            A path, a PIL image, or an array of shape `(height, width)`, `(height, width, channels)` or
            `(channels, height, width)` with 1, 3 or 4 channels. Arrays hold `uint8`, `uint16` or `bool`, or
            floating-point numbers in `[0, 1]`. If both layouts fit, the channels of a NumPy array are last,
            those of a tensor first.
        name (`str`, *optional*, defaults to `"image"`):
            Name in error messages for an image without a file name.
        white_level (`float`, *optional*):
            The value of white in images of more than 8 bits and in floating-point numbers. Defaults to what the file
            or the number type declares.

    Returns:
        `PIL.Image.Image`: The image in mode `"RGB"`.

    Raises:
        `ValueError`: In one line that names the file: it is missing, empty, cut off, damaged, too large or not an
        image, or the array has another shape, type or range.
    """
    if isinstance(image, np.ndarray | Tensor):
        return _flatten(_picture_from_array(image, name, white_level))
    picture, name = read_picture(image, name)
    if picture.mode == "F" or picture.mode.startswith("I"):
        return _deep_to_8_bits(picture, name, white_level).convert("RGB")
    return _flatten(picture)


def read_picture(image: object, name: str) -> tuple[Image.Image, str]:
    """The upright picture, and its name in error messages."""
    try:
        if isinstance(image, Image.Image):
            name = getattr(image, "filename", "") or name
            image.load()
            return _upright(image), name
        if isinstance(image, str | os.PathLike):
            name = os.fspath(image)
            return _read_file(name), name
    except Exception as error:  # Pillow raises errors of all kinds for damaged files
        raise ValueError(f"{name}: {_explain(error)}.") from error
    raise ValueError(f"{name}: {type(image).__name__} is no image; pass a path, a PIL image, an array or a tensor.")


def _read_file(path: str) -> Image.Image:
    if path.startswith(("http://", "https://")):
        raise ValueError("URLs are not fetched; download the image and pass its path")
    file = Path(path)
    if file.is_dir():
        raise ValueError("is a folder; pass the images in it")
    if not file.is_file():
        raise ValueError("no such file")
    if file.stat().st_size == 0:
        raise ValueError("the file is empty")
    with file.open("rb") as stream, Image.open(stream) as image:
        image.load()
        return _upright(image)


def _explain(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or in a format that Pillow cannot read"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, ValueError | Image.DecompressionBombError):
        return reason
    return f"the image is damaged or cut off ({reason})"


def _upright(image: Image.Image) -> Image.Image:
    """The picture, turned as its EXIF data say. Damaged EXIF data are ignored."""
    try:
        turns = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turns else image
    except Exception:  # Pillow raises errors of all kinds for damaged EXIF data
        return image


def _flatten(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if np.asarray(picture.getchannel("A")).any():  # else the channel is not in use
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _deep_to_8_bits(picture: Image.Image, name: str, white_level: float | None) -> Image.Image:
    """For Pillow's deep modes: 16 or 32 bits, integers or floating-point numbers."""
    values = np.asarray(picture)
    if picture.mode == "I" and picture.format in FORMATS_OF_16_BITS:
        values = values.clip(0, WHITE_OF_16_BITS).astype(np.uint16)
    white = white_level or declared_white(picture)
    if white is None and picture.mode == "F" and exceeds(values, 1):
        white = 255  # as in what Pillow itself makes of an 8-bit image
    pixels = to_8_bits(values, name, white)
    return Image.fromarray(255 - pixels if min_is_white(picture) else pixels)


def _picture_from_array(image: np.ndarray | Tensor, name: str, white_level: float | None) -> Image.Image:
    values = to_numpy(image)
    axis = channel_axis(image, NUM_CHANNELS)
    if values.size == 0 or (values.ndim != 2 and axis is None):
        raise ValueError(
            f"{name}: array of shape {values.shape}, but an image has (height, width), (height, width, "
            "channels) or (channels, height, width), with 1, 3 or 4 channels."
        )
    if axis is not None:
        values = np.moveaxis(values, axis, 2)
        values = values[:, :, 0] if values.shape[2] == 1 else values
    if white_level is None and values.dtype.kind in "iu" and values.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{name}: {values.dtype} values from {values.min()} to {values.max()}, but an array holds uint8, uint16 "
            "or bool, or floating-point numbers from 0 to 1."
        )
    return Image.fromarray(np.ascontiguousarray(to_8_bits(values, name, white_level)))


def channel_axis(image: np.ndarray | Tensor, num_channels: tuple[int, ...]) -> int | None:
    axes = (0, 2) if isinstance(image, Tensor) else (2, 0)
    return next((axis for axis in axes if image.ndim == 3 and image.shape[axis] in num_channels), None)


def to_numpy(image: np.ndarray | Tensor) -> np.ndarray:
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        return (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    return image


def smooth_maps(maps: Tensor, sigma: float) -> Tensor:
    r"""
    Gaussian filter over height and width, equal to `scipy.ndimage.gaussian_filter` at its defaults: edges are mirrored
    with the edge pixel repeated, and the kernel ends at 4 standard deviations.

    Args:
        maps (`torch.Tensor` of shape `(batch_size, height, width)`): Maps to smooth, of floating-point type.
        sigma (`float`): Standard deviation in pixels; 0 returns the maps as they are.

    Returns:
        `torch.Tensor` of shape `(batch_size, height, width)`.
    """
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return maps
    distance = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (distance / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(maps).view(1, 1, 1, -1)
    for _ in range(2):  # rows, then columns
        width = maps.shape[-1]
        # Mirrored positions: 0 … w-1, w-1 … 0, and so on.
        position = torch.arange(-radius, width + radius, device=maps.device) % (2 * width)
        position = torch.minimum(position, 2 * width - 1 - position)
        maps = F.conv2d(maps[:, None, :, position], kernel)[:, 0].transpose(1, 2)
    return maps


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `(batch_size, height, width)`, resized bilinearly to `size`, a height and width."""
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
