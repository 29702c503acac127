"""Images of one row, for tests of images and of masks."""

from PIL import Image


def row_image(*pixels: object, mode: str) -> Image.Image:
    """One row of pixels, which would show a swap of height and width."""
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(list(pixels))
    return image


def palette_image(colours: list[tuple[int, int, int]], indices: list[int]) -> Image.Image:
    image = row_image(*indices, mode="P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image
