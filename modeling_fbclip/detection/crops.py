"""The part of a photograph around a region."""

from collections.abc import Sequence

from PIL import Image

MARGIN = 0.5  # of the region's longer side, on each side, so that the surroundings are seen
LEAST_MARGIN = 16  # pixels


def crop_around(picture: Image.Image, box: Sequence[int]) -> Image.Image:
    """A region with a margin, which ends at the picture's edge. `box` is left, top, right and bottom in pixels."""
    left, top, right, bottom = box
    margin = max(LEAST_MARGIN, round(MARGIN * max(right - left, bottom - top)))
    return picture.crop(
        (
            max(0, left - margin),
            max(0, top - margin),
            min(picture.width, right + margin),
            min(picture.height, bottom + margin),
        )
    )
