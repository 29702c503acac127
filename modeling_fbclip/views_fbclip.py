"""Which views of an image the model sees: the whole, and tiles; pure."""

import math
from typing import Literal, NamedTuple

from .tiles_fbclip import Size, Tiling

Tile = int | Literal["auto"] | None

VIEW_SETTINGS = ("tile", "overlap", "keep_aspect")  # of the processor
AUTO_FACTOR = 1.5  # "auto" cuts images of more than this many times the model's size
OVERLAP_SHARE = 1 / 8  # of the tile, where no overlap is given


class View(NamedTuple):
    """A part of an image and the size at which the model sees it."""

    box: tuple[int, int, int, int]  # left, top, right, bottom; the last two exclusive
    size: Size

    @property
    def pixels(self) -> int:
        """How many pixels of the image it covers."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    def grid(self, patch_size: int) -> tuple[int, int]:
        """Height and width in patches."""
        return self.size[0] // patch_size, self.size[1] // patch_size


class TileScale(NamedTuple):
    """
    The longer side of a tile and how far its margin reaches into the next one's, in pixels of the image, and how many
    pixels of the image are one of the model's.
    """

    tile: int
    overlap: int
    factor: float

    def sides(self, image_size: Size) -> Size:
        """Height and width of a tile in pixels of the image: of the shape that the model sees."""
        return round(image_size[0] * self.factor), round(image_size[1] * self.factor)


class Viewing(NamedTuple):
    """
    How the model sees images.

    Args:
        image_size: height and width at which the model sees an image or a tile.
        patch_size: side of the model's patches.
        keep_aspect, tile, overlap: as for [`FBCLIPProcessor`].
    """

    image_size: Size
    patch_size: int
    keep_aspect: bool = False
    tile: Tile = None
    overlap: int | None = None

    @property
    def tiles(self) -> TileScale:
        r"""
        The tiles that the settings ask for.

        Raises:
            `ValueError`: A setting is out of its range.
        """
        tile, overlap, longest = self.tile, self.overlap, max(self.image_size)
        if tile not in (None, "auto") and (not isinstance(tile, int) or isinstance(tile, bool) or tile < 1):
            raise ValueError(f'`tile` is {tile!r}, but must be a number of pixels from 1 on, "auto" or None.')
        if overlap is not None and (not isinstance(overlap, int) or isinstance(overlap, bool)):
            raise ValueError(f"`overlap` is {overlap!r}, but must be a whole number of pixels.")
        side = tile if isinstance(tile, int) else longest
        factor = side / longest
        least = math.ceil(self.patch_size * factor)
        most = math.ceil(min(self.image_size) * factor / 2) - 1
        if tile is not None and (side < 2 * self.patch_size or most < least):
            raise ValueError(f"`tile` is {tile!r}, which is too small; take {2 * self.patch_size} pixels or more.")
        given = max(math.ceil(OVERLAP_SHARE * side), least) if overlap is None else overlap
        if (tile is not None or overlap is not None) and not least <= given <= most:
            raise ValueError(
                f"`overlap` is {given}, but must be from {least} (a patch) to {most} pixels (less than half a tile of "
                f"{side} pixels)."
            )
        return TileScale(side, given, factor)

    def tiling(self, size: Size) -> Tiling | None:
        """The tiles of an image, if it has more than one."""
        is_large = any(side > AUTO_FACTOR * seen for side, seen in zip(size, self.image_size, strict=True))
        if self.tile is None or (self.tile == "auto" and not is_large):
            return None
        tiling = Tiling.of(size, self.tiles.sides(self.image_size), self.tiles.overlap)
        return tiling if tiling.num_tiles > 1 else None

    def views(self, size: Size) -> list[View]:
        """The whole image, then its tiles."""
        tiling, box = self.tiling(size), (0, 0, size[1], size[0])
        if tiling is None:
            return [View(box, self.whole_size(size))]
        seen = self.image_size
        if tiling.tile != self.tiles.sides(seen):  # the image is shorter than a tile
            seen = self._in_patches(tiling.tile, 1 / self.tiles.factor)
        return [View(box, self._with_aspect(size)), *(View(box, seen) for box in tiling.boxes())]

    def whole_size(self, size: Size) -> Size:
        """The size at which the model sees an image that is not cut."""
        return self._with_aspect(size) if self.keep_aspect else self.image_size

    def mode(self, size: Size) -> str:
        """How the model sees an image, in words."""
        if self.tiling(size) is None:
            return self.whole_mode()
        return f"{self._seen()} in tiles of {self.tiles.tile} that overlap by {self.tiles.overlap}"

    def whole_mode(self) -> str:
        """How the model sees an image that is not cut, in words."""
        return self._seen() + (", aspect kept" if self.keep_aspect else "")

    def _seen(self) -> str:
        return f"{self.image_size[0]}x{self.image_size[1]} pixels"

    def _with_aspect(self, size: Size) -> Size:
        return self._in_patches(size, max(self.image_size) / max(size))

    def _in_patches(self, size: Size, factor: float) -> Size:
        """The size times the factor, both sides rounded to multiples of the patch, two at least."""
        height, width = (max(2, round(side * factor / self.patch_size)) * self.patch_size for side in size)
        return height, width
