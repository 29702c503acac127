"""LabelMe: images, and beside each with defects a JSON file of its name with polygons. Others are normal."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from modeling_fbclip.common.json_files import read_json
from modeling_fbclip.data.labels import label_of
from modeling_fbclip.data.polygons import draw_labelme, is_labelme, labelme_kinds

from .base import ANOMALY, ROOT_CATEGORY, DrawnMask, Layout, Sample, split_by_name
from .files import folders_in, images_in


def _folders(root: Path) -> list[Path]:
    """The root, the folders in it, and those in them."""
    inner = folders_in(root)
    return [root, *inner, *(deeper for folder in inner for deeper in folders_in(folder))]


def _split(root: Path, folder: Path) -> str:
    return split_by_name(Path(*folder.relative_to(root).parts[:1]))


def _find(root: Path) -> dict[str, list[str]]:
    def is_described(folder: Path) -> bool:
        for file in (image.with_suffix(".json") for image in images_in(folder)):
            with suppress(ValueError):  # of another program, or damaged
                if file.is_file() and is_labelme(read_json(file)):
                    return True
        return False

    folders = [folder for folder in _folders(root) if images_in(folder)]
    if not any(map(is_described, folders)):
        return {}
    return {_split(root, folder): [ROOT_CATEGORY] for folder in folders}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (there is only one)
    for folder in _folders(root):
        if _split(root, folder) == split:
            yield from map(_sample, images_in(folder))


def _sample(image: Path) -> Sample:
    """An image without a file is normal, unless its folder's name says that it is not."""
    file = image.with_suffix(".json")
    content = read_json(file) if file.is_file() else None
    kinds = labelme_kinds(content) if is_labelme(content) else []
    if not kinds:
        return Sample(image, None, int(label_of(image.parent.name) == 1), ROOT_CATEGORY)
    return Sample(image, DrawnMask(file, partial(draw_labelme, file)), 1, ROOT_CATEGORY, "+".join(kinds) or ANOMALY)


LABELME = Layout("labelme", "images with LabelMe's JSON files", _find, _read, lists=("**/*.json",))
