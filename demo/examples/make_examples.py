"""Makes the sample photographs from those of scikit-image, and draws the defects that LICENSES.md calls drawn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from skimage import data

FOLDER = Path(__file__).parent


def crop(photograph: np.ndarray, box: tuple[int, int, int, int], scale: float = 1.0) -> Image.Image:
    """The `box` (left, top, right, bottom) of a photograph in RGB, resized by `scale`."""
    part = Image.fromarray(photograph).convert("RGB").crop(box)
    size = (round(part.width * scale), round(part.height * scale))
    return part.resize(size, Image.Resampling.BICUBIC)


def draw_over(
    image: Image.Image,
    colour: tuple[int, int, int],
    blur: float,
    strength: float,
    draw: Callable[[ImageDraw.ImageDraw], None],
) -> Image.Image:
    """Blends `colour` in where `draw` paints 255, with an opacity of `strength` and edges blurred by `blur` pixels."""
    mask = Image.new("L", image.size)
    draw(ImageDraw.Draw(mask))
    mask = mask.filter(ImageFilter.GaussianBlur(blur)).point(lambda value: round(value * strength))
    return Image.composite(Image.new("RGB", image.size, colour), image, mask)


def draw_stain(draw: ImageDraw.ImageDraw) -> None:
    """Two blots that run into each other."""
    draw.ellipse((70, 92, 150, 150), 255)
    draw.ellipse((118, 110, 178, 176), 255)


def make_all() -> dict[str, Image.Image]:
    """The photographs by file name."""
    brick, gravel, grass, coffee = data.brick(), data.gravel(), data.grass(), data.coffee()
    bricks, wood = crop(brick, (0, 256, 256, 512)), crop(coffee, (440, 0, 560, 90), 2)
    pebbles, blades = crop(gravel, (256, 256, 512, 512)), crop(grass, (256, 256, 512, 512))
    cap = draw_over(blades, (205, 205, 205), 0.6, 1.0, lambda d: d.ellipse((150, 88, 194, 132), 255))
    return {
        "brick_good.jpg": crop(brick, (256, 0, 512, 256)),
        "brick_chipped.jpg": crop(brick, (100, 180, 250, 330), 2),
        "brick_open_joint.jpg": draw_over(
            bricks, (28, 28, 28), 1.0, 0.95, lambda d: d.line((184, 66, 182, 118, 180, 152), 255, 7)
        ),
        "gravel_good.jpg": crop(gravel, (0, 0, 256, 256)),
        "gravel_oil.jpg": draw_over(pebbles, (15, 15, 18), 6, 0.8, draw_stain),
        "grass_good.jpg": crop(grass, (0, 256, 256, 512)),
        "grass_cap.jpg": draw_over(
            cap, (120, 120, 120), 0.8, 1.0, lambda d: d.ellipse((155, 93, 189, 127), 0, 255, 2)
        ),
        "wood_good.jpg": wood,
        "wood_scratch.jpg": draw_over(
            wood, (245, 226, 196), 0.7, 0.9, lambda d: d.line((52, 38, 96, 70, 132, 82, 176, 128), 255, 3)
        ),
        "wood_gouged.jpg": crop(coffee, (470, 300, 600, 400), 2),
        "retina_good.jpg": crop(data.retina(), (850, 350, 1250, 750), 0.7),
        "large/brick_hole.jpg": draw_over(
            Image.fromarray(brick).convert("RGB"),
            (20, 20, 20),
            0.8,
            0.95,
            lambda d: d.ellipse((332, 102, 340, 110), 255),
        ),
        "retina_microaneurysms.jpg": crop(data.microaneurysms(), (0, 0, 102, 102), 3),
    }


if __name__ == "__main__":
    for name, image in make_all().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        image.save(FOLDER / name, quality=90)
