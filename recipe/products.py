"""Procedural data sets of one product each: `python -m recipe.products OUTPUT`.

A product is one surface and one camera; its images are photographs of different pieces, with and without defects.
They show what fine-tuning and references bring on one kind of part. The recipe trains on other draws of the same
surfaces, so they say nothing about kinds of surface that the bundled model does not know.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modeling_fbclip.common.files import is_empty, written_aside
from modeling_fbclip.training.painting.noise import Array, Generator
from modeling_fbclip.training.painting.painter import is_visible

from . import boards, nuisances, surfaces
from .dataset import with_defect
from .defects import BUILT, PAINTED
from .scenes import SURFACES
from .surfaces import Maker, Surface

PRODUCTS: dict[str, Maker] = {maker.__name__: maker for maker, _ in SURFACES} | {
    "cloth": surfaces.woven,
    "board": boards.masked_board,
}
JUDGING = ("cast_metal", "board", "cloth", "anatomy")  # settings are never chosen on these
CHOOSING = ("heap", "stone", "assembly")  # the bundled model finds some of their defects, not most
# Pieces of these are laid out alike; of the others, each image shows another place.
LAID_OUT = {
    "board", "masked_board", "label", "anatomy", "assembly", "turned_metal", "rays", "tiles", "heap", "road"
}  # fmt: skip
KINDS_EACH = 5  # kinds of defect of a product
FIELD = 100  # arrays of more numbers are a piece's own
EXPOSURE = 0.04  # standard deviation of the exposure among photographs
GOOD = "good"
TRIES = 20  # of one kind
SMALLEST = 32  # pixels

Window = tuple[slice, slice]


class PieceGenerator(np.random.Generator):
    """
    Draws for one piece of a product. Single numbers and short arrays come from the product's seed, so that tones,
    grain, layout and camera are the product's. Fields of noise come from the piece's seed.
    """

    def __init__(self, product: int, piece: int) -> None:
        super().__init__(np.random.PCG64(product))
        self.own = np.random.default_rng((product, piece))

    def standard_normal(self, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        draw = self.own.standard_normal if is_field(size) else super().standard_normal
        return draw(size, *args, **kwargs)

    def random(self, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        draw = self.own.random if is_field(size) else super().random
        return draw(size, *args, **kwargs)

    def integers(self, low: Any, high: Any = None, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        draw = self.own.integers if is_field(size) else super().integers
        return draw(low, high, size, *args, **kwargs)


def is_field(size: Any) -> bool:
    return size is not None and int(np.prod(size)) > FIELD


class Photograph(NamedTuple):
    """Pixels, uint8 (size, size, 3); the defect's pixels, bool (size, size), empty on a good piece; the kind."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    kind: str


def photographs(name: str, good: int, anomalous: int, size: int, seed: int) -> Iterator[Photograph]:
    """Good pieces of a product, then anomalous ones, the product's kinds of defect in turn."""
    product = zlib.crc32(f"{name} {seed}".encode())
    kinds = product_kinds(np.random.default_rng(product), PRODUCTS[name](np.random.default_rng(product), size))
    for piece in range(good):
        yield photograph(name, product, piece, size)
    for piece in range(good, good + anomalous):
        first = (piece - good) % len(kinds)
        yield photograph(name, product, piece, size, kinds[first:] + kinds[:first])


def product_kinds(rng: Generator, surface: Surface) -> list[str]:
    """The kinds of defect that a product has; built ones only if its surface has a structure."""
    table = PAINTED if surface.structure is None else PAINTED | BUILT
    return sorted(rng.choice(list(table), KINDS_EACH, replace=False))


def photograph(name: str, product: int, piece: int, size: int, kinds: Sequence[str] = ()) -> Photograph:
    """One piece of a product; with a defect of the first of `kinds` that can be seen on it, if there are any."""
    rng = PieceGenerator(product, piece)
    spare = size // 32 if name in LAID_OUT else size // 4
    surface = PRODUCTS[name](rng, size + spare)
    image = surface.image()
    top, left = rng.own.integers(0, spare + 1, 2)
    window = np.s_[top : top + size, left : left + size]
    mask, kind = np.zeros(image.shape[:2], dtype=bool), GOOD
    if kinds:
        image, mask, kind = defective(rng.own, surface, image, window, kinds)
    light = 1 + np.float32(rng.own.normal(0, EXPOSURE))
    return Photograph(nuisances.photograph(rng, image[window] * light), mask[window], kind)


def defective(
    rng: Generator, surface: Surface, clean: Array, window: Window, kinds: Sequence[str]
) -> tuple[Array, NDArray[np.bool_], str]:
    """The surface with a defect that can be seen in the window, its pixels and its kind."""
    attempt = 0
    while True:
        kind = kinds[attempt // TRIES % len(kinds)]  # on a plain surface, some kinds change nothing
        image, mask = with_defect(rng, surface, clean, kind, inside(surface, clean, window))
        if is_visible(clean[window], image[window], mask[window]):
            return image, mask, kind
        attempt += 1


def inside(surface: Surface, clean: Array, window: Window) -> Array:
    """Where a defect may begin: on the body, or anywhere in the window."""
    place = np.zeros(clean.shape[:2], dtype=np.float32)
    place[window] = clean[window][..., 0] > 0.1 if surface.name == "tissue" else 1
    return place


def write(folder: Path, name: str, good: int, anomalous: int, size: int, seed: int) -> None:
    """
    A data set in MVTec's layout: `part/test/KIND/NNN.png` and `part/ground_truth/KIND/NNN_mask.png`. The same
    arguments give the same files.

    Raises:
        ValueError: If the folder is not empty, or the images are too small for defects.
    """
    if size < SMALLEST:
        raise ValueError(f"--size {size}: must be {SMALLEST} or more.")
    if not is_empty(folder):
        raise ValueError(f"{folder}: is not empty; choose another folder.")
    counts: dict[str, int] = {}
    with written_aside(folder) as aside:
        for pixels, mask, kind in photographs(name, good, anomalous, size, seed):
            number = counts[kind] = counts.get(kind, -1) + 1
            own = kind.replace(" ", "_")
            save(pixels, aside / "part" / "test" / own / f"{number:03}.png")
            if kind != GOOD:
                save(mask, aside / "part" / "ground_truth" / own / f"{number:03}_mask.png")


def save(pixels: NDArray[Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipe.products", description=__doc__)
    parser.add_argument("output", type=Path, help="a folder of its own for each product is made in it")
    parser.add_argument(
        "--products", nargs="+", choices=sorted(PRODUCTS), default=JUDGING, metavar="NAME",
        help=f"default: {' '.join(JUDGING)}; settings are chosen on {' '.join(CHOOSING)}; all: {' '.join(PRODUCTS)}",
    )  # fmt: skip
    parser.add_argument("--good", type=int, default=200, help="good images (%(default)s)")
    parser.add_argument("--anomalous", type=int, default=100, help="images with a defect (%(default)s)")
    parser.add_argument("--size", type=int, default=256, help="side in pixels (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other products of the same names")
    given = parser.parse_args()
    for name in given.products:
        try:
            write(given.output / name, name, given.good, given.anomalous, given.size, given.seed)
        except (OSError, ValueError) as error:
            parser.error(str(error))
        print(given.output / name)


if __name__ == "__main__":
    main()
