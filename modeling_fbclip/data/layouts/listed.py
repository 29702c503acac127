"""Samples from tables that list image files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_fbclip.data.column_names import NORMAL
from modeling_fbclip.data.labels import REMEDY, is_normal, label_by_column, label_of
from modeling_fbclip.data.tables import read_table

from .base import ANOMALY, ROOT_CATEGORY, SPLITS, Sample, file_inside, group_by_split, split_by_name

Row = Mapping[str, Any]
Columns = Mapping[str, str | None]
Tables = Sequence[tuple[Path, Columns]]
FindTables = Callable[[Path], Tables]


def find_listed(tables: FindTables, root: Path) -> dict[str, list[str]]:
    """The categories of each split that the tables of a root list."""
    found = [(file, columns, row) for file, columns in tables(root) for row in _rows(file, columns)]
    return group_by_split((_split(root, file, columns, row), _category(columns, row)) for file, columns, row in found)


def read_listed(tables: FindTables, root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    """The samples that the tables of a root list, of a split and some categories."""
    for file, columns in tables(root):
        rows = _rows(file, columns)
        label = _labels(root, file, columns, rows)
        chosen = [row for row in rows if _split(root, file, columns, row) == split]
        for category in categories:
            for row in (row for row in chosen if _category(columns, row) == category):
                mask_name = _get(row, columns["mask"])
                mask = image_of(root, file, str(mask_name)) if mask_name else None
                defect = str(_get(row, columns["defect"]) or ANOMALY)
                yield Sample(_image(root, file, columns, row), mask, label(row), category, defect)


def image_of(root: Path, file: Path, name: str) -> Path:
    """The file that a table names: relative to the table if it is there or nowhere, else to the root."""
    places = [file_inside(root, str(file.parent.relative_to(root) / name), file)]
    if not places[0].is_file() and file.parent != root:
        places.append(file_inside(root, name, file))
    return next((place for place in places if place.is_file()), places[0])


def _rows(file: Path, columns: Columns) -> list[Row]:
    return [row for row in read_table(file) if columns["image"] in row]


def _get(row: Row, column: str | None) -> Any:
    """A value of a row; `None` if it is missing or empty."""
    value = None if column is None else row.get(column)
    return None if value == "" or value != value else value


def _image(root: Path, file: Path, columns: Columns, row: Row) -> Path:
    return image_of(root, file, str(_get(row, columns["image"]) or ""))


def _split(root: Path, file: Path, columns: Columns, row: Row) -> str:
    """From the column `split`, else from the folder that the image is in, else from the table's name."""
    folder = file.parent.relative_to(root) / str(_get(row, columns["image"]))
    top = next((name for name in folder.parts[:1] if name in SPLITS), None)
    return str(row.get("split") or top or split_by_name(file.relative_to(root)))


def _category(columns: Columns, row: Row) -> str:
    return str(_get(row, columns["category"]) or ROOT_CATEGORY)


def _labels(root: Path, file: Path, columns: Columns, rows: Sequence[Row]) -> Callable[[Row], int]:
    """The label comes from the column of labels, else from the defect, else from whether there is a mask, else from
    the folder, if that is named as normal or anomalous images are."""
    values = [str(value) for row in rows if (value := _get(row, columns["label"])) is not None]
    meaning = label_by_column(values, str(columns["label"]), str(file), columns.get(NORMAL)) if values else {}

    def label(row: Row) -> int:
        if (value := _get(row, columns["label"])) is not None:
            return meaning[str(value)]
        if defect := _get(row, columns["defect"]):
            return int(not is_normal(defect))
        if columns["mask"] in row:
            return int(_get(row, columns["mask"]) is not None)
        image = _image(root, file, columns, row)
        if (by_folder := label_of(image.parent.name)) is not None:
            return by_folder
        raise ValueError(f"{file}: no label of {image.name}, in the columns {', '.join(row)}; {REMEDY}.")

    return label
