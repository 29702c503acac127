"""Pictures of an anomaly map: an overlay on the photograph, and the map itself as 16-bit greyscale."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

# Probability → colour, linear in between. Fixed for every image, so that a good part stays as it is.
COLOUR_ANCHORS = (
    (0.00, (35, 60, 200)),  # blue
    (0.25, (30, 170, 230)),
    (0.50, (95, 210, 100)),
    (0.75, (250, 200, 40)),
    (1.00, (205, 20, 20)),  # red
)
HALF_OPAQUE = 0.25  # at about this value the colours have half of their weight
# A white line in a black one is seen on bright and on dark material.
CONTOUR_COLOURS = ((255, 255, 255), (0, 0, 0))
DISPLAY_SIDE = 400  # a line is one pixel wide where the picture's longer side is shown with so many
STRIP = 2**22  # pixels that are drawn at once, which bounds the memory
UINT16_MAX = 65535


def opacity(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How much of the photograph a value hides, from 0 at 0 to 1 at 1: little where material is good."""
    squares = np.square(np.asarray(values, dtype=np.float64))
    return squares / (squares + HALF_OPAQUE**2) * (1 + HALF_OPAQUE**2)


def _colour_table() -> npt.NDArray[np.uint8]:
    positions = np.array([position for position, _ in COLOUR_ANCHORS])
    colours = np.array([colour for _, colour in COLOUR_ANCHORS])
    levels = np.linspace(0.0, 1.0, 256)
    channels = [np.interp(levels, positions, colours[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)  # (256, 3)


COLOUR_TABLE = _colour_table()


def render_overlay(
    image: Image.Image,
    anomaly_map: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    alpha: float = 0.6,
) -> Image.Image:
    """
    Lays an anomaly map over its photograph, on a scale that is the same for every image: 0 shows the photograph as it
    is, larger values hide more of it, by colours from blue to red, which is 1.

    Args:
        image (`PIL.Image.Image`):
            The photograph.
        anomaly_map (array or CPU tensor of shape `(height, width)`):
            Anomaly probability of every pixel of `image`, in [0, 1].
        mask (boolean array or CPU tensor of shape `(height, width)`, *optional*):
            Pixels taken as anomalous. A line is drawn around each region, and inside along the image's edge. It is as
            wide as a person sees when the whole picture is on a screen.
        alpha (`float`, *optional*, defaults to 0.6):
            Weight of the colours where the map is 1: 0 leaves the photograph as it is, 1 hides it there.

    Returns:
        `PIL.Image.Image`: RGB, of the photograph's own size.

    Raises:
        ValueError: if the map or the mask is not of the image's size, or the map leaves [0, 1].
    """
    values = _checked(anomaly_map)
    if values.shape[::-1] != image.size:
        raise ValueError(f"anomaly_map of (width, height) {values.shape[::-1]} does not fit the image's {image.size}")
    inside = None if mask is None else np.asarray(mask, dtype=bool)
    if inside is not None and inside.shape != values.shape:
        raise ValueError(f"mask of (width, height) {inside.shape[::-1]} does not fit the image's {image.size}")
    overlay = image.copy() if image.mode == "RGB" else image.convert("RGB")
    weights_of_levels = [round(255 * alpha * weight) for weight in opacity(np.linspace(0, 1, 256))]
    for rows in _strips(values):
        levels = Image.fromarray(_scaled(values[rows], 255).astype(np.uint8))
        weights = levels.point(weights_of_levels)
        levels.putpalette(COLOUR_TABLE.tobytes())
        overlay.paste(levels.convert("RGB"), (0, rows.start), weights)
        if inside is not None:
            _draw_contour(overlay, inside, rows)
    return overlay


def _draw_contour(overlay: Image.Image, inside: npt.NDArray[np.bool_], rows: slice) -> None:
    """The part of the lines that lies in these rows. The regions beside them reach into them."""
    white = max(1, round(max(overlay.size) / DISPLAY_SIDE))
    black = max(1, white // 2)
    top = max(0, rows.start - white - black)
    regions = inside[top : rows.stop + white + black]
    if not regions.any():
        return
    grown = _grown(regions, white)
    own = np.s_[rows.start - top : rows.stop - top]
    inner = (grown & ~regions)[own] | (inside[rows] & _edge(inside.shape, rows, white))
    outer = (_grown(grown, black) & ~grown)[own]
    for colour, line in zip(CONTOUR_COLOURS, (inner, outer), strict=True):
        overlay.paste(colour, (0, rows.start), Image.fromarray(line))


def _edge(shape: tuple[int, ...], rows: slice, width: int) -> npt.NDArray[np.bool_]:
    """Those pixels of some rows that lie within `width` pixels of the image's edge."""
    down, across = (np.minimum(np.arange(side), np.arange(side)[::-1]) < width for side in shape)
    return down[rows, None] | across


def _grown(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """A mask with all pixels within `width` of it, counted by rows and columns."""
    return _grown_rows(_grown_rows(mask, width).T, width).T


def _grown_rows(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    grown = mask.copy(order="K")  # as it lies in memory, transposed or not
    reach = 0
    while reach < width:
        step = min(2 * reach + 1, width - reach)  # what has grown leaves no gap
        grown[step:] |= grown[:-step]
        grown[:-step] |= grown[step:]
        reach += step
    return grown


def map_to_png16(anomaly_map: npt.ArrayLike) -> Image.Image:
    """
    The anomaly map as a 16-bit greyscale image, ready to be saved as PNG: 0 is 0, 65535 is 1.

    Args:
        anomaly_map (array or CPU tensor of shape `(height, width)`):
            Anomaly probability of every pixel, in [0, 1].

    Returns:
        `PIL.Image.Image`: mode `I;16`, of the map's own size.

    Raises:
        ValueError: if the map is not two-dimensional or leaves [0, 1].
    """
    values = _checked(anomaly_map)
    scaled = np.empty(values.shape, dtype=np.uint16)
    for rows in _strips(values):
        scaled[rows] = _scaled(values[rows], UINT16_MAX)
    return Image.fromarray(scaled)


def _checked(anomaly_map: npt.ArrayLike) -> npt.NDArray[np.float32]:
    values = np.asarray(anomaly_map, dtype=np.float32)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"anomaly_map must be of shape (height, width), got {values.shape}")
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # written so that NaN fails too
        raise ValueError(f"anomaly_map must lie in [0, 1], got values from {low} to {high}")
    return values


def _scaled(values: npt.NDArray[np.float32], top: int) -> npt.NDArray[np.float64]:
    return np.rint(np.clip(values, 0.0, 1.0).astype(np.float64) * top)


def _strips(values: npt.NDArray[np.float32]) -> Iterator[slice]:
    height, width = values.shape
    rows = max(1, STRIP // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))
