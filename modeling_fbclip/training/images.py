"""Rows of an anomaly data set as the model's inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from torch import Tensor
from torch.utils import data

from modeling_fbclip.data.decoding import open_image, read_truth, row_name
from modeling_fbclip.images_fbclip import ImageSource
from modeling_fbclip.loss_fbclip import IGNORE_INDEX
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.training.augmentation import Augmentation
from modeling_fbclip.training.feature_cache import FeatureCache
from modeling_fbclip.training.schedule import Draw
from modeling_fbclip.training.synthetic import SyntheticAnomalies


@dataclass(eq=False)
class TrainingImages(data.Dataset[dict[str, Any]]):
    """
    Inputs of the model for each [`Draw`]. `rows` are undecoded, with the columns `image`, `label` and `digest`, and
    `mask` and `path` if known. If `use_masks`, a normal image without a mask has an empty one. The tokens of a `cache`
    replace the pixels.
    """

    rows: Dataset
    processor: FBCLIPProcessor
    use_masks: bool
    synthetic: SyntheticAnomalies | None = None
    augmentation: Augmentation | None = None
    cache: FeatureCache | None = None

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        row = self.rows[draw.row]
        if self.cache is not None:
            item: dict[str, Any] = {"layer_tokens": self.cache.read(self.name(draw)), "grid": self.cache.grid}
            mask, label = self._mask(row, draw), row["label"]
        else:
            image, mask, label = self._picture(row, draw)
            item = {"pixel_values": self.processor(images=[image])["pixel_values"][0]}
        labels = {"labels": label, "mask_labels": self._mask_labels(mask, label)}
        about = {"path": row_name(row, draw.row), "category": str(row.get("category") or ""), "counts": draw.counts}
        return item | labels | about

    def name(self, draw: Draw) -> str:
        """That of a draw's pixels in the cache."""
        digest = self._digests[draw.row]
        return digest if self.augmentation is None else self.augmentation.name(digest, draw.epoch)

    def picture(self, draw: Draw) -> Image.Image:
        """A draw's pixels."""
        return self._picture(self.rows[draw.row], draw)[0]

    @cached_property
    def _digests(self) -> list[str]:
        return list(self.rows["digest"])  # without the images, which a table may hold

    def _picture(self, row: dict[str, Any], draw: Draw) -> tuple[Image.Image, ImageSource | None, int]:
        """Image, mask and label of a draw, after painting."""
        path = row_name(row, draw.row)
        image = self.processor.read_image(open_image(row["image"], path), path)
        if self.synthetic is None:
            mask, label = self._mask(row, draw), row["label"]
        else:
            image, painted = self.synthetic(image, draw)
            mask, label = self._as_in(painted, row, draw), int(painted is not None)
        if self.augmentation is not None:
            image = self.augmentation.image(image, row["digest"], draw.epoch)
        return image, mask, label

    def _mask(self, row: dict[str, Any], draw: Draw) -> ImageSource | None:
        truth = read_truth(row, draw.row, self.processor.max_megapixels) if self.use_masks else None
        return None if truth is None else self._as_in(truth.pixels, row, draw)

    def _as_in(self, mask: ImageSource | None, row: dict[str, Any], draw: Draw) -> ImageSource | None:
        """The mask in the view of this epoch."""
        if mask is None or self.augmentation is None:
            return mask
        return self.augmentation.mask(mask, row["digest"], draw.epoch)

    def _mask_labels(self, mask: ImageSource | None, label: int) -> Tensor:
        if not self.use_masks or (mask is None and label):
            return torch.full(self.processor.image_size, float(IGNORE_INDEX))
        return self.processor(masks=[mask])["mask_labels"][0]


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One batch: tensors by the names of the model's arguments."""
    batch: dict[str, Any] = {
        "labels": torch.tensor([item["labels"] for item in items]),
        "mask_labels": torch.stack([item["mask_labels"] for item in items]),
        "path": [item["path"] for item in items],
        "category": [item["category"] for item in items],
        "counts": all(item["counts"] for item in items),
    }
    if "pixel_values" in items[0]:
        return batch | {"pixel_values": torch.stack([item["pixel_values"] for item in items])}
    layers = torch.stack([item["layer_tokens"] for item in items], dim=1)  # (L, B, N, D)
    return batch | {"layer_tokens": list(layers), "grid": items[0]["grid"]}
