"""Tokens of the frozen vision tower on disk: computed once, mapped into memory in every epoch."""

import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from modeling_fbclip.backbone_fbclip import vision_layer_tokens
from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.progress import progress_bar
from modeling_fbclip.detection.processes import Processes
from modeling_fbclip.digests_fbclip import preprocessing_of, settings_digest, weights_digest
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.training.disk import writing


class FeatureCache:
    """
    One safetensors file for each image or view of it, named by the digest of its pixels. In `folder`, a subfolder is
    named by the digest of everything else that the tokens depend on: the vision tower's weights, the layers, the
    preprocessing, the number type `dtype` of the tokens and the precision of their computation. So a file is never out
    of date.
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
        # (num_layers, 1 + num_patches, hidden_size)
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

    @property
    def bytes_an_image(self) -> int:
        """Of one image's tokens."""
        return self.dtype.itemsize * math.prod(self.shape)

    def read(self, name: str) -> Tensor:
        """Tokens of shape `self.shape`, mapped into memory. ValueError if the file is missing or cut off."""
        file = self._file(name)
        try:
            with safe_open(file, framework="pt") as opened:
                return opened.get_tensor("tokens")
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{file}: is no cached feature ({error}); start the run again to compute it.") from error

    def fill(
        self,
        pictures: Mapping[str, Callable[[], Image.Image]],
        model: FBCLIPModel,
        processor: FBCLIPProcessor,
        batch_size: int,
        accelerator: Accelerator,
    ) -> int:
        """
        Computes the tokens of `pictures`, by name, that are missing or damaged. Each process computes its share, and
        returns its number of images. OSError if the disk is full or cannot be written to.
        """
        with writing(self.folder, "choose another folder for the cache, or none"):
            self.folder.mkdir(parents=True, exist_ok=True)
        missing = [name for name in sorted(pictures) if not self._has(name)]
        self._require_room(len(missing))
        accelerator.wait_for_everyone()  # no process writes before all have looked
        mine = Processes(accelerator.process_index, accelerator.num_processes).share(missing)
        with progress_bar(len(mine), "caching features", visible=accelerator.is_local_main_process) as bar:
            for start in range(0, len(mine), batch_size):
                chunk = mine[start : start + batch_size]
                self._compute({name: pictures[name]() for name in chunk}, model, processor, accelerator)
                bar.update(len(chunk))
        accelerator.wait_for_everyone()
        return len(mine)

    @torch.no_grad()
    def _compute(
        self,
        images: dict[str, Image.Image],
        model: FBCLIPModel,
        processor: FBCLIPProcessor,
        accelerator: Accelerator,
    ) -> None:
        pixel_values = processor(images=list(images.values()))["pixel_values"].to(accelerator.device)
        with accelerator.autocast():
            layers = vision_layer_tokens(model.clip.vision_model, pixel_values, list(model.config.feature_layers))
        tokens = torch.stack(layers, dim=1).to("cpu", self.dtype)  # (B, L, N, D)
        for name, own in zip(images, tokens, strict=True):
            file, writer = self._file(name), str(os.getpid())  # several runs may share the cache
            with writing(file, "free some space and start again"), written_aside(file, writer=writer) as aside:
                save_file({"tokens": own.contiguous()}, aside)

    def _has(self, name: str) -> bool:
        try:
            self.read(name)
        except ValueError:
            return False
        return True

    def _require_room(self, count: int) -> None:
        needed = count * self.bytes_an_image
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(
                f"{self.folder}: the features of {count} images need {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB "
                "are free; choose another folder for the cache, or none."
            )

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"
