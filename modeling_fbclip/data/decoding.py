"""Images of a data set read by us rather than by `datasets`, whose errors do not name the file."""

from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image as PILImage

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

IMAGE_COLUMNS = ("image", "mask")

Rows = TypeVar("Rows", "Dataset", "IterableDataset")


def undecoded(dataset: Rows) -> Rows:
    """The data set with its images as files or bytes, for `open_image`."""
    from datasets import Image

    for column in IMAGE_COLUMNS:
        if isinstance((dataset.features or {}).get(column), Image):
            dataset = dataset.cast_column(column, Image(decode=False))
    return dataset


def open_image(value: Any, name: str) -> Any:
    """
    What `load_rgb_image` and `load_mask` can read of a row's image, and name in their errors.

    Raises:
        ValueError: naming it, if the bytes in the table are no image.
    """
    if not isinstance(value, dict):
        return value
    if value["bytes"] is None:
        return value["path"]
    try:
        return PILImage.open(BytesIO(value["bytes"]))
    except OSError as error:
        raise ValueError(f"{name}: not an image, or in a format that Pillow cannot read.") from error
