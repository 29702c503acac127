"""Digests: short names for weights, images and settings, made from their content."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from .processing_fbclip import FBCLIPProcessor

DIGEST_BYTES = 16


def image_digest(image: "Image.Image") -> str:
    r"""
    Names an image by its pixels. The file's name, format and metadata play no part.

    Args:
        image (`PIL.Image.Image`): In RGB, as [`load_rgb_image`] reads it.

    Returns:
        `str`: 32 hexadecimal digits.
    """
    return hashlib.blake2b(f"{image.size}".encode() + image.tobytes(), digest_size=DIGEST_BYTES).hexdigest()


def file_sha256(file: Path) -> str:
    """A file's SHA-256 in hexadecimal digits, as `sha256sum` prints it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_digest(module: "nn.Module") -> str:
    """Names a module's weights by their numbers and number types."""
    return _tensors_digest(sorted(module.state_dict().items()))


def values_digest(module: "nn.Module") -> str:
    """As [`weights_digest`], but the same for every number type that holds the same values."""
    return _tensors_digest((name, weight.cpu().float()) for name, weight in sorted(module.state_dict().items()))


def _tensors_digest(named: "Iterable[tuple[str, Tensor]]") -> str:
    import torch

    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name, tensor in named:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Names settings by their values, in any order."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def preprocessing_of(processor: "FBCLIPProcessor") -> dict[str, Any]:
    """How a processor makes pixels into numbers, without what saving adds."""
    settings = processor.image_processor.to_dict()
    kept = {name: value for name, value in settings.items() if name not in ("auto_map", "image_processor_type")}
    names = ("white_level", "keep_aspect", "tile", "overlap")  # noted where they are used, so that older digests hold
    used = {name: value for name in names if (value := getattr(processor, name))}
    if processor.tile is None:
        used.pop("overlap", None)
    return kept | used
