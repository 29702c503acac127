"""Real-IAD as released: `realiad_jsons/audiojack.json` lists the images of `realiad_1024/audiojack/`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modeling_fbclip.common.json_files import read_json

from .base import SPLITS, Layout, Sample, file_inside, get

JSON_FOLDERS = (Path("realiad_jsons", "realiad_jsons"), Path("realiad_jsons"))
# The resolution nearest above the model's comes first.
IMAGE_FOLDERS = ("realiad_1024", "realiad_512", "realiad_raw", "realiad_256")


def _json_files(root: Path) -> list[Path]:
    return next((files for folder in JSON_FOLDERS if (files := sorted((root / folder).glob("*.json")))), [])


def _entries(file: Path, split: str) -> list[Any]:
    entries = get(read_json(file), split, file)
    if not isinstance(entries, list):
        raise ValueError(f"{file}: {split!r} is no list of images; download the file again.")
    return entries


def _find(root: Path) -> dict[str, list[str]]:
    if not any((root / name).is_dir() for name in IMAGE_FOLDERS):
        return {}
    files = _json_files(root)
    return {split: [file.stem for file in files if _entries(file, split)] for split in SPLITS}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    images = next(root / name for name in IMAGE_FOLDERS if (root / name).is_dir())
    for file in (file for file in _json_files(root) if file.stem in categories):
        meta = get(read_json(file), "meta", file)
        normal, prefix = get(meta, "normal_class", file), get(meta, "prefix", file)
        for entry in _entries(file, split):
            kind = get(entry, "anomaly_class", file)
            image = file_inside(images, f"{prefix}/{get(entry, 'image_path', file)}", file)
            mask = entry.get("mask_path")
            mask_file = file_inside(images, f"{prefix}/{mask}", file) if mask else None
            yield Sample(image, mask_file, int(kind != normal), file.stem, kind)


REAL_IAD = Layout(
    "real-iad",
    "realiad_jsons/ and realiad_1024/",
    _find,
    _read,
    lists=("realiad_jsons/**/*.json",),
    known_leftovers=dict.fromkeys(IMAGE_FOLDERS, "at another resolution, or not listed"),
)
