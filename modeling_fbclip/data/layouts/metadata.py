"""`imagefolder` metadata: `metadata.csv` or `metadata.jsonl` with `file_name`, and perhaps `mask_file_name`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .base import ANOMALY, ROOT_CATEGORY, SPLITS, Layout, Sample, file_inside, group_by_split, is_normal, read_csv


def _files(root: Path) -> list[Path]:
    paths = (root / folder / f"metadata.{form}" for folder in (".", *SPLITS) for form in ("csv", "jsonl"))
    return [path for path in paths if path.is_file()]


def _rows(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".csv":
        rows: list[Any] = list(read_csv(file))
    else:
        try:
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise ValueError(f"{file}: is not readable as JSON lines ({error}); write the file anew.") from error
    return [row for row in rows if isinstance(row, dict) and "file_name" in row]


def _split(root: Path, file: Path, row: dict[str, Any]) -> str:
    """From the column `split`, else from the folder that the image is in, else `"test"`."""
    place = (file.parent.relative_to(root) / str(row["file_name"])).parts[:1]
    return str(row.get("split") or next((name for name in place if name in SPLITS), "test"))


def _category(row: dict[str, Any]) -> str:
    return str(row.get("category") or ROOT_CATEGORY)


def _find(root: Path) -> dict[str, list[str]]:
    return group_by_split((_split(root, file, row), _category(row)) for file in _files(root) for row in _rows(file))


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    for file in _files(root):
        rows = [row for row in _rows(file) if _split(root, file, row) == split]
        for category in categories:
            yield from (_sample(root, file, row) for row in rows if _category(row) == category)


def _sample(root: Path, file: Path, row: dict[str, Any]) -> Sample:
    """The label comes from `label`, else from `defect`, else from whether there is a mask, else from the folder."""
    folder = file.parent.relative_to(root)
    image = file_inside(root, str(folder / str(row["file_name"])), file)
    mask_name = row.get("mask_file_name")
    mask = file_inside(root, str(folder / str(mask_name)), file) if mask_name else None
    if row.get("label") not in (None, ""):
        label = int(not is_normal(row["label"]))
    elif row.get("defect"):
        label = int(not is_normal(row["defect"]))
    elif "mask_file_name" in row:
        label = int(mask is not None)
    else:
        label = int(not is_normal(image.parent.name))
    return Sample(image, mask, label, _category(row), str(row.get("defect") or ANOMALY))


METADATA = Layout("imagefolder", "metadata.csv with file_name", _find, _read)
