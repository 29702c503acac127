"""Images that a model was trained on and is now evaluated on."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from transformers.utils import cached_file

from modeling_fbclip.common.provenance import RECORDS, TRAINING_RECORD


def image_digest(image: Image.Image) -> str:
    r"""
    Names an image by its pixels, whatever the file's name, format and metadata.

    Args:
        image (`PIL.Image.Image`): In RGB, as [`load_rgb_image`] reads it.

    Returns:
        `str`: 32 hexadecimal digits.
    """
    return hashlib.blake2b(f"{image.size}".encode() + image.tobytes(), digest_size=16).hexdigest()


def trained_images(model_name: str | None) -> frozenset[str] | None:
    r"""
    Digests of the images that a model's folder or Hub repository records as trained on.

    Returns:
        `frozenset[str]` or `None`, if it records none or there is no such place, as of a model made in memory.

    Raises:
        `ValueError`: If the record cannot be read.
    """
    path = _file_of(model_name, TRAINING_RECORD)
    if path is None:
        return None
    try:
        return frozenset(json.loads(path.read_text(encoding="utf-8"))["image_digests"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no record of training images ({error}); remove it or train again.") from error


def copy_records(model_name: str | None, folder: Path) -> None:
    """Copies what tells how a model's weights came about, as far as its folder or Hub repository has it."""
    for name in RECORDS:
        if (record := _file_of(model_name, name)) is not None:
            shutil.copyfile(record, folder / name)


def _file_of(model_name: str | None, file: str) -> Path | None:
    if not model_name or (not Path(model_name).is_dir() and model_name.count("/") != 1):
        return None
    path = cached_file(model_name, file, _raise_exceptions_for_missing_entries=False)
    return None if path is None else Path(path)


def training_overlap(trained: frozenset[str] | None, evaluated: Sequence[str | None]) -> dict[str, Any] | None:
    """How many of the evaluated images were trained on, or `None` if that is not recorded."""
    if trained is None:
        return None
    return {"images": sum(digest in trained for digest in evaluated), "of": len(evaluated)}
