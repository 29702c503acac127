"""`imagefolder` metadata: `metadata.csv` or `metadata.jsonl` with `file_name`, and perhaps `mask_file_name`."""

from functools import partial
from pathlib import Path

from .base import SPLITS, Layout
from .listed import Columns, Tables, find_listed, read_listed

COLUMNS: Columns = {
    "image": "file_name",
    "mask": "mask_file_name",
    "label": "label",
    "category": "category",
    "defect": "defect",
}
FORMS = ("csv", "tsv", "jsonl")


def _tables(root: Path) -> Tables:
    paths = (root / folder / f"metadata.{form}" for folder in (".", *SPLITS) for form in FORMS)
    return [(path, COLUMNS) for path in paths if path.is_file()]


LISTS = tuple(f"{folder}metadata.{form}" for folder in ("", "train/", "test/") for form in FORMS)
METADATA = Layout(
    "imagefolder",
    "metadata.csv with file_name",
    partial(find_listed, _tables),
    partial(read_listed, _tables),
    lists=LISTS,
)
