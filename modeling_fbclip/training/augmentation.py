"""Other photographs of the same part: mirrored, turned, shifted, larger, in another light. Masks go along."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from modeling_fbclip.images_fbclip import ImageSource

VIEWS = 4  # of an image, in turn over the epochs; the first is the image as it is
CUT = 0.1  # largest share of a side that is cut off: the rest is larger, and shifted
LIGHT = 0.15  # largest change of brightness and of contrast


@dataclass(frozen=True)
class Augmentation:
    """Gives `VIEWS` fixed views of each image, which depend on `seed` and on the `digest` of the image's pixels."""

    seed: int

    def image(self, image: Image.Image, digest: str, epoch: int) -> Image.Image:
        """The view of an RGB image in an epoch."""
        if epoch % VIEWS == 0:
            return image
        rng = self._rng(digest, epoch)
        photograph = Image.fromarray(_placed(rng, np.asarray(image)))
        for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast):
            photograph = enhancer(photograph).enhance(1 + rng.uniform(-LIGHT, LIGHT))
        return photograph

    def mask(self, mask: ImageSource, digest: str, epoch: int) -> ImageSource:
        """The mask of that view; a mask may have another size than its image."""
        return mask if epoch % VIEWS == 0 else _placed(self._rng(digest, epoch), np.asarray(mask))

    def name(self, digest: str, epoch: int) -> str:
        """A name of the view in an epoch, another one for other pixels."""
        return f"{digest}-{self.seed}-{epoch % VIEWS}" if epoch % VIEWS else digest

    def _rng(self, digest: str, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch % VIEWS, int(digest, 16)])


def _placed(rng: np.random.Generator, pixels: npt.NDArray) -> npt.NDArray:
    """A part of an image or mask, mirrored and turned by quarters. Draws the same numbers for every size."""
    turns, mirror = int(rng.integers(4)), int(rng.choice([1, -1]))
    kept = 1 - rng.uniform(0, CUT)
    corner = rng.uniform(0, 1 - kept, 2)
    sides = np.array(pixels.shape[:2])
    (top, left), (bottom, right) = (np.round(share * sides).astype(int) for share in (corner, corner + kept))
    cut = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    return np.ascontiguousarray(np.rot90(cut, turns)[:, ::mirror])
