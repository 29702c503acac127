"""HeadCT as downloaded: images in `head_ct/` and their labels in `labels.csv` (`id, hemorrhage`)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_fbclip.data.labels import label_by_column
from modeling_fbclip.data.tables import read_csv

from .base import ROOT_CATEGORY, Layout, Sample, get
from .files import child, images_in

# The archive has the folder in a folder of the same name.
IMAGE_FOLDERS = ("head_ct", "head_ct/head_ct")


def _images(root: Path) -> list[Path]:
    return next((images for name in IMAGE_FOLDERS if (images := images_in(child(root, name)))), [])


def _find(root: Path) -> dict[str, list[str]]:
    return {"test": [ROOT_CATEGORY] if (root / "labels.csv").is_file() and _images(root) else []}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (one of each)
    file = root / "labels.csv"
    named = {get(row, "id", file).zfill(3): get(row, "hemorrhage", file) for row in read_csv(file)}
    meaning = label_by_column(list(named.values()), "hemorrhage", str(file))
    labels = {name: meaning[value] for name, value in named.items()}
    for image in _images(root):
        if (label := labels.get(image.stem.zfill(3))) is None:
            raise ValueError(f"{file}: has no row for {image.name}; every image needs one.")
        yield Sample(image, None, label, ROOT_CATEGORY)


HEAD_CT = Layout("head-ct", "labels.csv and head_ct/", _find, _read, lists=("labels.csv",))
