"""Small pictures of an image for a report: the photograph, and its overlay."""

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from modeling_fbclip.detection.rendering import render_overlay

SIDE = 400  # pixels of the longer side; smaller pictures stay as they are
MOST_BYTES = 30_000  # of one picture, so that 1,000 images stay below 100 MB
# What is tried in turn for that: qualities of WebP, and by how much the picture is reduced.
TRIALS = ((75, 1), (40, 1), (40, 2), (20, 4))


def make_thumbnails(picture: Image.Image, result: dict[str, Any]) -> tuple[str, str]:
    """The photograph and its overlay as WebP in base64. What is anomalous in a large image stays visible."""
    scale = min(1.0, SIDE / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    small = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    values, mask = (pooled(np.asarray(result[name]), (height, width)) for name in ("anomaly_map", "mask"))
    return _webp(small), _webp(render_overlay(small, values, mask))


def pooled(values: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """The largest value of each cell of a grid of this height and width, which is not larger than the array."""
    for axis, cells in enumerate(size):
        starts = np.arange(cells) * values.shape[axis] // cells
        values = np.maximum.reduceat(values, starts, axis=axis)
    return values


def _webp(picture: Image.Image) -> str:
    data = b""
    for quality, factor in TRIALS:
        file = BytesIO()
        picture.reduce(factor).save(file, "WEBP", quality=quality, method=2)
        data = file.getvalue()
        if len(data) <= MOST_BYTES:
            break
    return b64encode(data).decode()
