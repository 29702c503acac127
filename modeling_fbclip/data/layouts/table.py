"""Any table that lists image files, in the folder or in one in it: CSV, TSV, JSON lines or Parquet, as Kaputt has."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from modeling_fbclip.common.own_results import is_marked, is_result
from modeling_fbclip.data.column_names import NORMAL, choose_columns
from modeling_fbclip.data.labels import REMEDY
from modeling_fbclip.data.tables import SUFFIXES, Row, read_table

from .base import Layout
from .listed import Columns, Tables, find_listed, image_of, read_listed

PATTERNS = tuple(f"{folder}*{suffix}" for folder in ("", "*/") for suffix in SUFFIXES)
OWN_COLUMNS = {"path", "score", "label"}  # of what `detect` prints: its labels are no truth
LABELLING = ("label", "mask", "defect")  # columns that tell normal from anomalous


def tables_in(root: Path) -> dict[Path, Sequence[Row]]:
    """The tables in a folder and in those in it with their rows. Damaged ones and own results are left out."""
    found: dict[Path, Sequence[Row]] = {}
    for file in (file for pattern in PATTERNS for file in sorted(root.glob(pattern))):
        if not file.name.startswith(".") and not is_result(file.name, is_marked(file.parent)):
            with suppress(ValueError):
                rows = read_table(file)
                if rows and not rows[0].keys() >= OWN_COLUMNS:
                    found[file] = rows
    return found


def _tables(given: Mapping[str, str], root: Path) -> Tables:
    tables = tables_in(root).items()
    named = {column for name, column in given.items() if name != NORMAL}
    found = [(file, _columns(given, root, file, rows)) for file, rows in tables if named <= rows[0].keys()]
    return [(file, columns) for file, columns in found if columns is not None]


def _columns(given: Mapping[str, str], root: Path, file: Path, rows: Sequence[Row]) -> Columns | None:
    """
    The columns of a table that lists images which are there; `None` if it is another table.

    Raises:
        ValueError: if no column tells normal images from anomalous ones.
    """
    columns = choose_columns(str(file), rows[0].keys(), given)
    if not any(_is_there(root, file, row, columns["image"]) for row in rows):
        return None
    if not any(columns[name] for name in LABELLING):
        raise ValueError(f"{file}: has no column of labels, but {', '.join(rows[0])}; {REMEDY}.")
    return columns | {NORMAL: given.get(NORMAL)}


def _is_there(root: Path, file: Path, row: Row, column: str | None) -> bool:
    name = row.get(column) if column else None
    try:
        return isinstance(name, str) and image_of(root, file, name).is_file()
    except (OSError, ValueError):
        return False


def table_layout(given: Mapping[str, str]) -> Layout:
    """The layout of tables, some of whose columns a user has named, as for `load_anomaly_dataset`."""
    tables = partial(_tables, given)
    find, read = partial(find_listed, tables), partial(read_listed, tables)
    return Layout("table", "a table of image files with labels", find, read, lists=PATTERNS)


TABLE = table_layout({})
