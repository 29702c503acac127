"""Tokens of the frozen vision tower on a disk: computed once, mapped into memory in every epoch."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import tqdm
from datasets import Dataset
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from modeling_fbclip.backbone_fbclip import vision_layer_tokens
from modeling_fbclip.common.digests import preprocessing_of, settings_digest, weights_digest
from modeling_fbclip.data.decoding import read_rgb
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.training.rows import row_name


class FeatureCache:
    r"""
    One safetensors file an image, named by the image's pixels, in a folder named by all that made it: the vision
    tower's weights, the layers, the preprocessing and the number types. So what is there is never stale.

    Args:
        folder (`Path`): Holds the caches of any models.
        model ([`FBCLIPModel`]): Computes the tokens.
        processor ([`FBCLIPProcessor`]): Prepares the images.
        dtype (`torch.dtype`): Of the tokens kept.
        mixed_precision (`str`, defaults to `"no"`): What they are computed in, by accelerate's name.
    """

    def __init__(
        self,
        folder: Path,
        model: FBCLIPModel,
        processor: FBCLIPProcessor,
        dtype: torch.dtype,
        mixed_precision: str = "no",
    ) -> None:
        config = model.config
        height, width = processor.image_size
        self.grid = (height // config.patch_size, width // config.patch_size)
        self.shape = (len(config.feature_layers), 1 + self.grid[0] * self.grid[1], config.clip_vision.hidden_size)
        self.dtype = dtype
        made_by = {
            "tower": weights_digest(model.clip.vision_model),
            "config": config.clip_vision.to_dict(),
            "layers": list(config.feature_layers),
            "preprocessing": preprocessing_of(processor),
            "dtype": str(dtype),
            "mixed_precision": mixed_precision,
        }
        self.folder = folder / settings_digest(made_by)

    def read(self, digest: str) -> Tensor:
        r"""
        Returns:
            `torch.Tensor` of shape `(num_layers, 1 + num_patches, hidden_size)`, mapped, not read.

        Raises:
            `ValueError`: The file is missing, cut off or of another shape.
        """
        file = self._file(digest)
        try:
            with safe_open(file, framework="pt") as opened:
                tokens = opened.get_tensor("tokens")
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{file}: is no cached feature ({error}); start again to compute it.") from error
        if tuple(tokens.shape) != self.shape or tokens.dtype != self.dtype:
            raise ValueError(f"{file}: has {tokens.dtype} of shape {tuple(tokens.shape)}; remove it and start again.")
        return tokens

    def fill(
        self,
        rows: Dataset,
        model: FBCLIPModel,
        processor: FBCLIPProcessor,
        batch_size: int,
        accelerator: Accelerator,
    ) -> int:
        r"""
        Computes what is missing or damaged, each process its share.

        Args:
            rows (`datasets.Dataset`): With the columns `image` and `digest`.

        Returns:
            `int`: How many images that were, of this process.

        Raises:
            `OSError`: There is no room for them, or the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        digests: list[str] = list(rows["digest"])
        first_of = {digest: index for index, digest in reversed(list(enumerate(digests)))}
        missing = [index for digest, index in sorted(first_of.items()) if not self._has(digest)]
        self._require_room(len(missing))
        accelerator.wait_for_everyone()  # no process writes before all have looked
        mine = missing[accelerator.process_index :: accelerator.num_processes]
        bar = tqdm(total=len(mine), desc="caching features", disable=not sys.stderr.isatty(), leave=False)
        for start in range(0, len(mine), batch_size):
            chunk = mine[start : start + batch_size]
            self._compute([rows[index] | {"index": index} for index in chunk], model, processor, accelerator)
            bar.update(len(chunk))
        bar.close()
        accelerator.wait_for_everyone()
        return len(mine)

    @torch.no_grad()
    def _compute(
        self, rows: Sequence[dict], model: FBCLIPModel, processor: FBCLIPProcessor, accelerator: Accelerator
    ) -> None:
        images = [read_rgb(row["image"], row_name(row, row["index"])) for row in rows]
        pixel_values = processor(images=images)["pixel_values"].to(accelerator.device)
        with accelerator.autocast():
            layers = vision_layer_tokens(model.clip.vision_model, pixel_values, list(model.config.feature_layers))
        tokens = torch.stack(layers, dim=1).to("cpu", self.dtype)  # (B, L, N, D)
        for row, own in zip(rows, tokens, strict=True):
            self._write(row["digest"], own)

    def _write(self, digest: str, tokens: Tensor) -> None:
        file = self._file(digest)
        aside = file.with_suffix(f".{os.getpid()}.partial")
        try:
            save_file({"tokens": tokens.contiguous()}, aside)
            aside.replace(file)
        except (OSError, SafetensorError) as error:
            raise OSError(f"{file}: cannot be written ({error}); free some space, and start again.") from error
        finally:
            aside.unlink(missing_ok=True)

    def _has(self, digest: str) -> bool:
        try:
            self.read(digest)
        except ValueError:
            return False
        return True

    def _require_room(self, count: int) -> None:
        needed = count * self.dtype.itemsize * self.shape[0] * self.shape[1] * self.shape[2]
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(
                f"{self.folder}: the features of {count} images need {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB "
                "are free; choose another folder for the cache, or none."
            )

    def _file(self, digest: str) -> Path:
        return self.folder / f"{digest}.safetensors"
