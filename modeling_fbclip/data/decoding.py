"""Reads the images of a data set. The errors of `datasets` do not name the file; these do."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image as PILImage

from modeling_fbclip.files_fbclip import MAX_MEGAPIXELS
from modeling_fbclip.images_fbclip import load_rgb_image
from modeling_fbclip.masks_fbclip import Mask, load_mask, read_mask

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

IMAGE_COLUMNS = ("image", "mask")

Rows = TypeVar("Rows", "Dataset", "IterableDataset")


def undecoded(dataset: Rows) -> Rows:
    """The data set with its images as paths or bytes, for `open_image`."""
    from datasets import Image

    for column in IMAGE_COLUMNS:
        if isinstance((dataset.features or {}).get(column), Image):
            dataset = dataset.cast_column(column, Image(decode=False))
    return dataset


def row_name(row: Mapping[str, Any], index: int) -> str:
    """What messages call a row: its path, the path of its image's file, or its number."""
    image = row.get("image")
    file = image.get("path") if isinstance(image, dict) else getattr(image, "filename", None)
    return str(row.get("path") or file or f"image {index}")


def open_image(value: Any, name: str) -> Any:
    """
    A row's image as `load_rgb_image` and `load_mask` can read it: a path, bytes or a PIL image.

    Args:
        value: the image in an undecoded or a decoded row.
        name: what an error calls the image.

    Raises:
        ValueError: if a streamed file cannot be read.
    """
    if not isinstance(value, dict):
        return value
    if value["bytes"] is not None:
        return value["bytes"]
    if "://" not in (value["path"] or ""):
        return value["path"]
    from datasets.utils.file_utils import xopen

    try:
        with xopen(value["path"], "rb") as file:  # a streamed file
            return file.read()
    except OSError as error:
        raise ValueError(f"{name}: cannot be read ({error}).") from error


def read_rgb(
    value: Any, name: str, white_level: float | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> PILImage.Image:
    """A row's image in RGB; ValueError with its name if it cannot be read."""
    return load_rgb_image(open_image(value, name), name, white_level, max_megapixels)


def read_truth(row: Mapping[str, Any], index: int, max_megapixels: float = MAX_MEGAPIXELS) -> Mask | None:
    """The mask of an undecoded row, turned as its photograph; `None` without one, ValueError if it cannot be read."""
    name = f"the mask of {row_name(row, index)}"  # which may have no file of its own
    mask = open_image(row.get("mask"), name)
    return None if mask is None else read_mask(mask, name, open_image(row.get("image"), name), max_megapixels)


def marks_anything(mask: Any, name: str) -> bool:
    """
    Whether a row's mask has an anomalous pixel: the label of a data set without a label column.

    A mask that cannot be read counts as anomalous here, so that the rows can be listed. The next reader raises the
    error.
    """
    try:
        return mask is not None and bool((load_mask(open_image(mask, name), name) == 1).any())
    except ValueError:
        return True
