"""KolektorSDD as downloaded: `kos01/Part0.jpg` and its mask `kos01/Part0_label.bmp`, all black if it is normal."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_fbclip.data.decoding import marks_anything

from .base import ROOT_CATEGORY, Layout, Sample
from .files import folders_in, images_in

ENDING = "_label"


def _folders(root: Path) -> list[Path]:
    return [folder for folder in folders_in(root) if folder.name.startswith("kos") and _masks(folder)]


def _masks(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in images_in(folder) if path.stem.endswith(ENDING)}


def _find(root: Path) -> dict[str, list[str]]:
    return {"test": [ROOT_CATEGORY] if _folders(root) else []}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (one of each)
    for folder in _folders(root):
        masks = _masks(folder)
        for image in images_in(folder):
            if image.stem not in masks:
                mask = masks.get(image.stem + ENDING)
                # Normal images have a mask too: only its pixels tell the label.
                yield Sample(image, mask, int(marks_anything(mask, str(mask))), ROOT_CATEGORY)


KOLEKTOR = Layout("kolektor", "kos01/Part0_label.bmp", _find, _read)
