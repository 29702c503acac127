"""Anomalies painted into normal images, with their masks."""

from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from PIL import Image

from modeling_fbclip.data.decoding import open_image, row_name
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.training.painting.defects import painted_kinds
from modeling_fbclip.training.painting.noise import Array, Generator, spectral_noise
from modeling_fbclip.training.painting.painter import choose_kind, foreground, is_visible, paint
from modeling_fbclip.training.schedule import Draw

ANOMALOUS_SHARE = 0.5
TRIES = 8  # kinds and places, until a defect can be seen; on a plain surface some kinds change nothing


@dataclass
class SyntheticAnomalies:
    r"""
    Makes half of the draws anomalous: paints defects of one of the fourteen kinds of `painting/` on the part. Foreign
    matter has the texture of noise, or of another of the normal training images `rows`, turned and in other colours.
    The same draw gives the same picture.
    """

    rows: Dataset
    processor: FBCLIPProcessor
    seed: int
    in_turn: bool = False  # every second row is anomalous, else half of the draws by chance

    def __call__(self, image: Image.Image, draw: Draw) -> tuple[Image.Image, Image.Image | None]:
        """
        The RGB image with a defect and the defect's mask, or without one and `None`. Both are squares of the longer
        side that the processor resizes to, painted or not, so that resizing tells nothing.
        """
        rng = np.random.default_rng([self.seed, draw.epoch, draw.row])
        image = self._square(image, max(self.processor.image_size))
        is_anomalous = bool(draw.row % 2) if self.in_turn else rng.random() < ANOMALOUS_SHARE
        if not is_anomalous:
            return image, None
        clean, kinds = _pixels(image), painted_kinds(self._foreign_texture)
        inside = foreground(clean)
        for _ in range(TRIES):
            painted, mask = paint(rng, clean, kinds[choose_kind(rng, kinds)][0], inside)
            if is_visible(clean, painted, mask):
                return Image.fromarray(np.round(painted * 255).astype(np.uint8)), Image.fromarray(mask)
        return image, None

    def _square(self, image: Image.Image, side: int) -> Image.Image:
        return image.resize((side, side), self.processor.image_processor.resample)

    def _foreign_texture(self, rng: Generator, size: int) -> Array:
        if rng.random() < 0.5:
            fields = [spectral_noise(rng, size, rng.uniform(0, 3)) for _ in range(3)]
            return np.clip(0.5 + 0.2 * np.stack(fields, axis=2), 0, 1, dtype=np.float32)
        index = int(rng.integers(len(self.rows)))
        row = self.rows[index]
        name = row_name(row, index)
        other = self._square(self.processor.read_image(open_image(row["image"], name), name), size)
        texture = np.rot90(_pixels(other), int(rng.integers(1, 4)))[:, :, rng.permutation(3)]
        return 1 - texture if rng.random() < 0.5 else texture


def _pixels(image: Image.Image) -> Array:
    """`(height, width, 3)`, from 0 to 1."""
    return np.asarray(image, dtype=np.float32) / np.float32(255)
