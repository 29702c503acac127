"""A line of text below a picture."""

from PIL import Image, ImageDraw, ImageFont

from modeling_fbclip.files_fbclip import printable

SMALLEST, LINES = 12, 30  # of the letters: pixels, and how many lines the longer side has room for
ELLIPSIS = "…"


def with_caption(picture: Image.Image, verdict: str, name: str) -> Image.Image:
    """
    The picture with a line below it, in Pillow's own font. The picture itself stays as it is.

    Args:
        picture: in RGB.
        verdict: what the line must say. Where a picture is too narrow for it, a margin is added on the right.
        name: follows if there is room, without its middle if need be.
    """
    size = max(SMALLEST, round(max(picture.size) / LINES))
    font = ImageFont.load_default(size)
    margin, line = size // 2, 2 * size
    width = max(picture.width, round(font.getlength(verdict)) + 2 * margin + 1)
    text = f"{verdict}  {_fitting(printable(name), font, width - 2 * margin - font.getlength(f'{verdict}  '))}"
    captioned = Image.new("RGB", (width, picture.height + line), "white")
    captioned.paste(picture)
    ImageDraw.Draw(captioned).text((margin, picture.height + line // 2), text, "black", font, anchor="lm")
    return captioned


def _fitting(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """As much of both ends of a name as there is room for."""
    kept = [name] + [f"{name[:half]}{ELLIPSIS}{name[-half:]}" for half in range(min(len(name) // 2, 200), 0, -1)]
    return next((text for text in kept if font.getlength(text) <= room), "")
