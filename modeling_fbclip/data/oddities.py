"""What is odd in a mask, beside its image and its label."""

import logging
import re
from collections.abc import Iterable, Iterator

import numpy as np

from modeling_fbclip.masks_fbclip import Mask, resize_mask

logger = logging.getLogger(__name__)

MOSTLY = 0.5  # share of the pixels, and of those at the border; a mask that marks more of both may be inverted
PHOTOGRAPH = 0.25  # share of grey pixels

Size = tuple[int, int]  # height and width


def mask_problems(mask: Mask, image_size: Size | None, label: int, model_size: Size | None = None) -> Iterator[str]:
    """
    Args:
        mask: the mask.
        image_size: that of the image, if it can be read.
        label: 1 if the image is anomalous, else 0.
        model_size: what the mask will be resized to, if that is known.
    """
    pixels = mask.pixels
    is_marked, (height, width) = pixels == 1, pixels.shape
    if image_size is not None and image_size != pixels.shape:
        yield f"mask of {width} by {height} pixels, image of {image_size[1]} by {image_size[0]}"
    if not mask.is_turn_certain:
        yield "mask turned by the EXIF data of its photograph: check that it was drawn on the photograph unturned"
    if mask.grey_share > PHOTOGRAPH:
        yield f"mask of {mask.num_values} values, most of them grey: it may be a photograph"
    elif mask.num_values > 2:
        yield f"mask of {mask.num_values} values, not of two"
    marked = is_marked.any()
    if label and not marked:
        yield "mask is empty, but the image anomalous"
    elif not label and marked:
        yield "mask of a normal image"
    elif min(is_marked.mean(), _border(is_marked).mean()) > MOSTLY:
        yield f"mask marks {is_marked.mean():.0%} of the image: it may be inverted"
    if model_size is not None and resize_mask(pixels, model_size)[1]:
        yield f"mask vanishes at {model_size[0]} by {model_size[1]} pixels: its strongest pixel is kept"


def tell(problems: Iterable[tuple[str, str]]) -> None:
    """Logs the first problem of each kind, from pairs of a file and its problem, and how many there are."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for file, problem in problems:
        kinds.setdefault(re.sub(r"\d+", "", problem), []).append((file, problem))
    for (file, problem), *more in kinds.values():
        logger.warning("%s: %s%s", file, problem, f" (and {len(more)} more of this kind)" if more else "")


def _border(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
