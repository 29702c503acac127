"""Pictures of an anomaly map: an overlay on the photograph, and the map itself as 16-bit greyscale."""

import numpy as np
import numpy.typing as npt
from PIL import Image

# Probability → colour, linear in between. Fixed for every image, so that a good part stays blue.
COLOUR_ANCHORS = (
    (0.00, (35, 60, 200)),  # blue
    (0.25, (30, 170, 230)),
    (0.50, (95, 210, 100)),
    (0.75, (250, 200, 40)),
    (1.00, (205, 20, 20)),  # red
)
CONTOUR_COLOUR = (255, 255, 255)
UINT16_MAX = 65535
ROWS_AT_ONCE = 256


def _colour_table() -> npt.NDArray[np.uint8]:
    positions = np.array([position for position, _ in COLOUR_ANCHORS])
    colours = np.array([colour for _, colour in COLOUR_ANCHORS])
    levels = np.linspace(0.0, 1.0, 256)
    channels = [np.interp(levels, positions, colours[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)  # (256, 3)


COLOUR_TABLE = _colour_table()


def _probabilities(anomaly_map: npt.ArrayLike) -> npt.NDArray[np.float32]:
    values = np.asarray(anomaly_map, dtype=np.float32)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"anomaly_map must be of shape (height, width), got {values.shape}")
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # written so that NaN fails too
        raise ValueError(f"anomaly_map must lie in [0, 1], got values from {low} to {high}")
    return np.clip(values, 0.0, 1.0)


def _contour(mask: npt.ArrayLike, size: tuple[int, int]) -> Image.Image:
    values = np.asarray(mask, dtype=bool)
    if values.shape != size[::-1]:
        raise ValueError(f"mask of (width, height) {values.shape[::-1]} does not fit the image's {size}")
    return Image.fromarray(inner_border(values, max(1, round(max(size) / 400))))


def inner_border(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """
    The pixels of each region within `width` pixels of its outside, counted by rows and columns. The image's edge
    counts as outside, so that a region which it cuts is closed along it.
    """
    return mask & ~_erode_rows(_erode_rows(mask, width).T, width).T


def _erode_rows(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    inside = mask.copy(order="K")  # as it lies in memory, transposed or not
    for shift in range(1, width + 1):
        inside[shift:] &= mask[:-shift]
        inside[:-shift] &= mask[shift:]
    inside[:width] = inside[-width:] = False
    return inside


def render_overlay(
    image: Image.Image,
    anomaly_map: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    alpha: float = 0.5,
) -> Image.Image:
    """
    Lays an anomaly map over its photograph, on a colour scale that is the same for every image:
    0 is blue, 1 is red.

    Args:
        image (`PIL.Image.Image`):
            The photograph.
        anomaly_map (array or CPU tensor of shape `(height, width)`):
            Anomaly probability of every pixel of `image`, in [0, 1].
        mask (boolean array or CPU tensor of shape `(height, width)`, *optional*):
            Pixels taken as anomalous; the inner border of each region is drawn as a white line.
        alpha (`float`, *optional*, defaults to 0.5):
            Weight of the colours: 0 leaves the photograph as it is, 1 hides it.

    Returns:
        `PIL.Image.Image`: RGB, of the photograph's own size.

    Raises:
        ValueError: if the map or the mask is not of the image's size, or the map leaves [0, 1].
    """
    levels = Image.fromarray(np.rint(_probabilities(anomaly_map) * 255).astype(np.uint8))
    if levels.size != image.size:
        raise ValueError(f"anomaly_map of (width, height) {levels.size} does not fit the image's {image.size}")
    levels.putpalette(COLOUR_TABLE.tobytes())
    overlay = Image.blend(image.convert("RGB"), levels.convert("RGB"), alpha)
    if mask is not None:
        overlay.paste(CONTOUR_COLOUR, mask=_contour(mask, image.size))
    return overlay


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
    values = np.asarray(anomaly_map)
    scaled = np.empty(values.shape, np.uint16)
    for start in range(0, max(1, len(values)), ROWS_AT_ONCE):  # copies of a large map would need gigabytes
        rows = _probabilities(values[start : start + ROWS_AT_ONCE]).astype(np.float64)
        scaled[start : start + ROWS_AT_ONCE] = np.rint(rows * UINT16_MAX)
    return Image.fromarray(scaled)
