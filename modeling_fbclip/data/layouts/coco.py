"""COCO: a JSON file with `images`, `annotations` and `categories`; an image with annotations is anomalous."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from modeling_fbclip.common.json_files import read_json
from modeling_fbclip.data.labels import is_normal
from modeling_fbclip.data.polygons import draw_coco

from .base import ANOMALY, ROOT_CATEGORY, DrawnMask, Layout, Sample, file_inside, get, split_by_name

PATTERNS = ("*.json", "*/*.json")
LISTS = ("images", "annotations", "categories")


def _files(root: Path) -> dict[Path, Mapping[str, Any]]:
    """The COCO files below a root with their contents. JSON files of other kinds, and damaged ones, are not ours."""
    found = {}
    for file in (file for pattern in PATTERNS for file in sorted(root.glob(pattern))):
        with suppress(ValueError):
            content = read_json(file)
            if isinstance(content, Mapping) and all(isinstance(content.get(name), list) for name in LISTS):
                found[file] = content
    return found


def _split(root: Path, file: Path) -> str:
    return split_by_name(file.relative_to(root))


def _find(root: Path) -> dict[str, list[str]]:
    return {_split(root, file): [ROOT_CATEGORY] for file, content in _files(root).items() if content["images"]}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (there is only one)
    for file, content in _files(root).items():
        if _split(root, file) == split:
            yield from _samples(root, file, content, split)


def _samples(root: Path, file: Path, content: Mapping[str, Any], split: str) -> Iterator[Sample]:
    names = {str(get(one, "id", file)): str(get(one, "name", file)) for one in content["categories"]}
    defects = defaultdict(list)
    for annotation in content["annotations"]:
        name = names.get(str(get(annotation, "category_id", file)), ANOMALY)
        if not is_normal(name):
            defects[str(get(annotation, "image_id", file))].append((name, annotation.get("segmentation")))
    for entry in content["images"]:
        image = _locate(root, file, get(entry, "file_name", file), split)
        found = defects[str(get(entry, "id", file))]
        regions = [region for _, region in found if region]
        mask = None
        if regions:
            size = (get(entry, "width", file), get(entry, "height", file))
            mask = DrawnMask(file, partial(draw_coco, file, size, regions))
        kind = "+".join(dict.fromkeys(name for name, _ in found)) or ANOMALY
        yield Sample(image, mask, int(bool(found)), ROOT_CATEGORY, kind)


def _locate(root: Path, file: Path, name: object, split: str) -> Path:
    """The image's file: beside the list, below the root, or in one of the usual folders; the first that exists."""
    own = file.stem.split("_")[-1]  # instances_train2017.json describes the folder train2017/
    places = [Path(), Path(split), Path(own)]
    for place in (file.parent.relative_to(root), *places, *(Path("images", path) for path in places)):
        with suppress(ValueError):
            image = file_inside(root, str(place / str(name)), file)
            if image.is_file():
                return image
    return file_inside(root, name, file)


COCO = Layout("coco", "a COCO file", _find, _read, lists=PATTERNS)
