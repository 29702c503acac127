"""The files of a data set by their folders and names: images, their masks, kinds of defects. Always in one order."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from modeling_fbclip.common.json_files import read_json
from modeling_fbclip.common.listing import is_image_name
from modeling_fbclip.common.own_results import is_marked, is_result
from modeling_fbclip.data.labels import is_normal, label_of
from modeling_fbclip.data.polygons import draw_labelme, is_labelme

from .base import ROOT_CATEGORY, DrawnMask

# How the name of a mask differs from that of its image. Names compare without case.
MASK_ENDINGS = ("_mask", "_label", "_segmentation", "_gt", "_seg", "-mask", "-gt", "-seg", ".mask", "_masks")
MASK_BEGINNINGS = ("mask_", "gt_")
MASK_FOLDERS = (
    *("masks", "ground_truth", "mask", "gt", "groundtruth", "ground truth", "label", "labels"),
    *("annotation", "annotations", "segmentation"),
)
DEEPEST = 3  # folders in folders of a kind of defect


class Kind(NamedTuple):
    """A folder of images of one label and kind of defect; `place` is where it lies in the folder of all kinds."""

    folder: Path
    place: Path
    label: int

    @property
    def name(self) -> str:
        """The names of its folders, without words that only mean anomalous."""
        parts = self.place.parts
        return "/".join(part for part in parts if label_of(part) is None) or parts[-1]

    @property
    def mask_places(self) -> tuple[Path, Path]:
        """Where its masks may lie in a folder of masks."""
        return Path(self.name), self.place


def child(folder: Path, name: str) -> Path:
    """The entry of a folder that has this name, whatever the case of its letters; the path as named if none has."""
    path = folder
    for part in Path(name).parts:
        exact = path / part
        alike = [] if exact.exists() else [one for one in _listing(path) if one.name.casefold() == part.casefold()]
        path = alike[0] if alike else exact
    return path


def folders_in(folder: Path) -> list[Path]:
    """The visible folders in a folder, sorted; none if there is no such folder. A folder that is linked to it, or to
    another folder in it, counts once."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:  # which tells folders from files without a look at each
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    folders = [folder / name for name in names if name != "__MACOSX"]
    seen = {folder.resolve(), *(path.resolve() for path in folders if not path.is_symlink())}
    once = []
    for path in folders:
        if path.is_symlink():
            if (target := path.resolve()) in seen or folder.resolve().is_relative_to(target):
                continue
            seen.add(target)
        once.append(path)
    return once


def images_in(folder: Path) -> list[Path]:
    """The images in a folder by their suffix, sorted; none if there is no such folder. Own results are left out."""
    marked = is_marked(folder)
    return [path for path in _listing(folder) if _is_wanted(path.name, marked)]


def has_images(folder: Path) -> bool:
    """Whether there is an image in a folder. The listing stops at the first."""
    if not folder.is_dir():
        return False
    marked = is_marked(folder)
    with os.scandir(folder) as entries:
        return any(_is_wanted(entry.name, marked) for entry in entries)


def stem_of(image: Path) -> str:
    """The name of an image without its suffix, which may be `.nii.gz`."""
    return image.stem[: -len(".nii")] if image.name.lower().endswith(".nii.gz") else image.stem


def masks_in(folder: Path) -> dict[str, Path]:
    """The images in a folder by their name without suffix, as it is and in small letters."""
    images = list(reversed(images_in(folder)))
    return {stem_of(path).casefold(): path for path in images} | {stem_of(path): path for path in images}


def mask_of(image: Path, masks: Mapping[str, Path]) -> Path | None:
    """The mask that has the image's name, or that name with one of the usual endings or beginnings."""
    if (stem := stem_of(image)) in masks:
        return masks[stem]
    stem = stem.casefold()
    return next((masks[name] for name in (stem, *_mask_names(stem)) if name in masks), None)


def folder_of_masks(folder: Path) -> Path | None:
    """The folder beside a folder of images that has its name with one of the usual endings or beginnings."""
    places = (child(folder.parent, name) for name in _mask_names(folder.name))
    return next((place for place in places if place.is_dir()), None)


def _mask_names(name: str) -> list[str]:
    return [name + ending for ending in MASK_ENDINGS] + [beginning + name for beginning in MASK_BEGINNINGS]


def masks_beside(images: Sequence[Path]) -> dict[Path, Path]:
    """The masks among the images of a folder, whose name is that of another with a usual ending or beginning."""
    by_name = {stem_of(path).casefold(): path for path in reversed(images)}
    found = {}
    for image in images:
        names = _mask_names(stem_of(image).casefold())
        if mask := next((by_name[name] for name in names if name in by_name), None):
            found[image] = mask
    return found


def images_and_masks(folder: Path, masks: Mapping[str, Path]) -> Iterator[tuple[Path, Path | DrawnMask | None]]:
    """The images in a folder, each with its mask: one of these masks, or one beside it, which may be LabelMe's."""
    images = images_in(folder)
    beside = masks_beside(images)
    pictures_of_masks = set(beside.values())
    for image in images:
        if image not in pictures_of_masks:
            yield image, mask_of(image, masks) or beside.get(image) or _polygons_beside(image)


def _polygons_beside(image: Path) -> DrawnMask | None:
    file = image.with_suffix(".json")
    if not file.is_file():
        return None
    content = read_json(file)
    is_drawn = is_labelme(content) and bool(content["shapes"])
    return DrawnMask(file, partial(draw_labelme, file)) if is_drawn else None


def kinds_in(folder: Path) -> list[Kind]:
    """The kinds of normal and anomalous images in a folder: the folders of images, and those in them."""

    def walk(kind: Kind) -> Iterator[Kind]:
        if has_images(kind.folder):
            yield kind
        if len(kind.place.parts) < DEEPEST:
            for inner in _no_masks(kind.folder):
                yield from walk(Kind(inner, kind.place / inner.name, kind.label))

    tops = [Kind(top, Path(top.name), int(not is_normal(top.name))) for top in _no_masks(folder)]
    by_folder: dict[Path, Kind] = {}
    kinds = [kind for top in tops for kind in walk(top)]
    for kind in sorted(kinds, key=lambda kind: kind.folder.resolve() != kind.folder.absolute()):  # links come last
        by_folder.setdefault(kind.folder.resolve(), kind)
    return [kind for kind in kinds if by_folder[kind.folder.resolve()] is kind]


def _no_masks(folder: Path) -> list[Path]:
    folders = folders_in(folder)
    names = {path.name.casefold() for path in folders}
    beside = {name for other in names for name in _mask_names(other)}  # bad_mask/, where there is bad/
    return [path for path in folders if path.name.casefold() not in {*MASK_FOLDERS, *beside}]


def categories_below(root: Path, fits: Callable[[Path], bool]) -> list[str]:
    """The root if it is a category itself, else the folders in it that are."""
    if fits(root):
        return [ROOT_CATEGORY]
    return [folder.name for folder in folders_in(root) if fits(folder)]


def _is_wanted(name: str, marked: bool) -> bool:
    return is_image_name(name) and not is_result(name, marked)


def _listing(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]  # noqa: PTH208
