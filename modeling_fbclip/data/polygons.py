"""Regions in JSON files, drawn as masks: polygons and boxes of LabelMe, polygons and run lengths of COCO."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from PIL import Image, ImageDraw

from modeling_fbclip.common.json_files import read_json
from modeling_fbclip.data.labels import is_normal
from modeling_fbclip.files_fbclip import shortened
from modeling_fbclip.masks_fbclip import load_mask

LARGEST = 20_000  # pixels of a side
Points = Sequence[tuple[float, float]]


def is_labelme(content: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether the content of a JSON file is LabelMe's on one image."""
    return isinstance(content, Mapping) and isinstance(content.get("shapes"), list) and "imagePath" in content


def labelme_kinds(content: Mapping[str, Any]) -> list[str]:
    """The labels of the anomalous regions, without repeats."""
    labels = (str(shape.get("label")) for shape in content["shapes"] if isinstance(shape, Mapping))
    return list(dict.fromkeys(label for label in labels if not is_normal(label)))


def draw_labelme(file: Path) -> Image.Image:
    """The regions of a LabelMe file, 0 where there is none; ValueError that names the file if it is damaged."""
    content = read_json(file)
    try:
        canvas, brush = _canvas(content["imageWidth"], content["imageHeight"])
        for shape in content["shapes"]:
            points = [(x, y) for x, y in shape["points"]]
            if is_normal(shape.get("label")):
                continue
            if shape.get("shape_type") == "mask":  # from its upper left corner on
                canvas.paste(1, tuple(map(round, points[0])), _picture(shape["mask"]))
            else:
                _draw_shape(brush, str(shape.get("shape_type", "polygon")), points)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(file, error) from error
    return canvas


def draw_coco(file: Path, size: tuple[int, int], regions: Sequence[Any]) -> Image.Image:
    """
    The mask of an image in a COCO file.

    Args:
        file: the file, for messages.
        size: width and height of the image.
        regions: the `segmentation` of each of its annotations: lists of polygons, or run lengths.

    Returns:
        The picture, 0 where normal.

    Raises:
        ValueError: a region is damaged, or has compressed run lengths, which need pycocotools.
    """
    try:
        canvas, brush = _canvas(*size)
        for region in regions:
            if isinstance(region, Mapping):
                canvas.paste(1, mask=Image.fromarray(_decode_runs(region, size) > 0))
            else:
                for flat in region:
                    brush.polygon([(flat[i], flat[i + 1]) for i in range(0, len(flat) - 1, 2)], fill=1)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _damaged(file, error) from error
    except ImportError as error:
        raise ValueError(f"{file}: its compressed run lengths need a library: pip install pycocotools.") from error
    return canvas


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    if not (0 < int(width) <= LARGEST and 0 < int(height) <= LARGEST):
        raise ValueError(f"an image of {width} by {height} pixels")
    canvas = Image.new("1", (int(width), int(height)))
    return canvas, ImageDraw.Draw(canvas)


def _draw_shape(brush: ImageDraw.ImageDraw, kind: str, points: Points) -> None:
    if kind == "polygon":
        brush.polygon(points, fill=1)
    elif kind == "rectangle":
        (x1, y1), (x2, y2) = points
        brush.rectangle((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), fill=1)
    elif kind == "circle":
        (x, y), (edge_x, edge_y) = points
        radius = float(np.hypot(edge_x - x, edge_y - y))
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    elif kind in ("line", "linestrip"):
        brush.line(points, fill=1)
    elif kind in ("point", "points"):
        brush.point(points, fill=1)
    else:
        raise ValueError(f"a shape {kind!r}")


def _picture(text: str) -> Image.Image:
    """The marked pixels of a PNG file in base64 text."""
    return Image.fromarray(load_mask(b64decode(text)) == 1)


def _decode_runs(region: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """COCO's run lengths, column by column and beginning with normal pixels, as an array `(height, width)`."""
    runs = region["counts"]
    if isinstance(runs, str | bytes):
        from pycocotools import mask

        return mask.decode({"size": region["size"], "counts": runs})
    pixels = np.repeat(np.arange(len(runs)) % 2, runs)
    return pixels.reshape(size).T


def _damaged(file: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{shortened(str(file))}: a region cannot be drawn ({type(error).__name__}: {error}); correct the file."
    )
