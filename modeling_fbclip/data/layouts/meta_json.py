"""`meta.json` as the released code of AnomalyCLIP, AdaCLIP and FB-CLIP writes it: every image of a folder by class."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from modeling_fbclip.common.json_files import read_json

from .base import ANOMALY, SPLITS, Layout, Sample, file_inside, get


def _classes(root: Path) -> dict[str, Mapping[str, list[object]]]:
    """The classes of each split; nothing if the file is of another program. DAGM's splits have a capital letter."""
    file = root / "meta.json"
    meta = read_json(file) if file.is_file() else None
    if not isinstance(meta, Mapping):
        return {}
    splits = {split.lower(): classes for split, classes in meta.items() if split.lower() in SPLITS}
    shaped = all(
        isinstance(classes, Mapping) and all(isinstance(entries, list) for entries in classes.values())
        for classes in splits.values()
    )
    return splits if shaped else {}


def _find(root: Path) -> dict[str, list[str]]:
    splits = _classes(root)
    return {split: [name for name, entries in classes.items() if entries] for split, classes in splits.items()}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    listed_in = root / "meta.json"
    classes = _classes(root)[split]
    for category in categories:
        for entry in classes[category]:
            label = _label(entry, listed_in)
            image = file_inside(root, get(entry, "img_path", listed_in), listed_in)
            mask_path = get(entry, "mask_path", listed_in)
            mask = file_inside(root, mask_path, listed_in) if mask_path else None
            if mask and mask.is_dir():
                mask = None  # as the released code reads it
            yield Sample(image, mask, label, category, get(entry, "specie_name", listed_in) or ANOMALY)


def _label(entry: object, listed_in: Path) -> int:
    anomaly = get(entry, "anomaly", listed_in)
    try:
        number = float(anomaly)
    except (TypeError, ValueError):
        number = -1
    if number not in (0, 1):
        raise ValueError(f"{listed_in}: 'anomaly' is {anomaly!r}, but must be 0 or 1.")
    return int(number)


META_JSON = Layout("meta-json", "meta.json", _find, _read, lists=("meta.json",))
