"""Pixels of any depth as 8 bits. The scale is what the file declares or the caller says. No single pixel sets it."""

import logging

import numpy as np

logger = logging.getLogger(__name__)

WHITE_OF_16_BITS = 65535
OUTLIERS = 1e-3  # share of the pixels that may lie outside of the range, and is clipped
ONE_PIXEL = 3  # values; as many may lie outside of a small image too, but not of one of a few pixels
DARK = 1 / 4  # of the range: a 16-bit image with no value above it gets a warning
FLOAT_TOLERANCE = 1e-3  # for rounding

_warned: set[str] = set()  # the image that the warning was about; one is enough


def to_8_bits(values: np.ndarray, name: str, white: float | None = None) -> np.ndarray:
    r"""
    Scales pixel values so that black becomes 0 and white 255. Up to a thousandth of the values may lie outside of the
    range; they are clipped.

    Args:
        values (`np.ndarray`): `bool`, integers or floating-point numbers.
        name (`str`): Name of the image in messages.
        white (`float`, *optional*): The value of white in integers of more than 8 bits and in floating-point numbers.
            Defaults to 65535, to 32767 if they are signed, and to 1 for floating-point numbers. Integers of more than
            16 bits declare no white: it is 255 if that holds all but a thousandth of the pixels, else 65535.

    Returns:
        `np.ndarray` of `uint8`, of the same shape.

    Raises:
        `ValueError`: More values lie outside of the range, or some are not finite numbers.
    """
    kind, depth = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        return values * np.uint8(255)
    if kind == "u" and depth == 1:
        return values
    if kind not in "iuf":
        raise ValueError(f"{name}: {values.dtype} values, but an image holds numbers.")
    if white is None:
        white = _usual_white(values, name)
    tolerance = FLOAT_TOLERANCE * white if kind == "f" else 0
    inside = (values >= -tolerance) & (values <= white + tolerance)  # False for NaN
    if not _are_few(~inside) or not np.isfinite(values).all():
        raise ValueError(
            f"{name}: {values.dtype} values from {values.min()} to {values.max()}, but an image of this type holds "
            f"finite numbers from 0 to {white:g}; scale them, or pass the value of white as `white_level`."
        )
    return np.rint(values.clip(0, white) * np.float64(255 / white)).astype(np.uint8)


def _usual_white(values: np.ndarray, name: str) -> float:
    if values.dtype.kind == "f":
        return 1
    if values.dtype.itemsize > 2:
        return WHITE_OF_16_BITS if exceeds(values, 255) else 255
    white = WHITE_OF_16_BITS if values.dtype.kind == "u" else WHITE_OF_16_BITS // 2
    if values.max(initial=0) < DARK * white and not _warned:
        _warned.add(name)
        logger.warning(
            "%s: 16 bits, but no value above %d, so it is nearly black. If the white of such images is less than "
            "%d, pass it as `white_level` (--white-level), such as 4095 for 12 bits, or --white-level auto.",
            name,
            values.max(initial=0),
            white,
        )
    return white


def exceeds(values: np.ndarray, white: float) -> bool:
    """Whether more than a few values are brighter than this white."""
    return not _are_few(values > white * (1 + FLOAT_TOLERANCE))


def _are_few(chosen: np.ndarray) -> bool:
    """Whether no more values are chosen than may be clipped."""
    return bool(np.count_nonzero(chosen) <= max(OUTLIERS * chosen.size, min(ONE_PIXEL, chosen.size // 16)))
