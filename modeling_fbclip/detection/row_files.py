"""
Rows in files, one file a process; a line is written when its image is done. A later run skips the images that are.

The rows of a file ascend. So any number of processes can read all files side by side, holding one row of each.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.json_files import read_record
from modeling_fbclip.detection.processes import Processes
from modeling_fbclip.detection.report_entries import PATTERN as THUMBNAILS
from modeling_fbclip.detection.rows import Row, outcome
from modeling_fbclip.detection.sources import Item

LINES, TABLE = ".jsonl", ".parquet"
SETTINGS = "rows-settings.json"
ROW_GROUP = 10_000  # rows of a Parquet file that are held at once

Key = tuple[int, int]  # shard and index


class RowFolder(NamedTuple):
    """
    The rows files of a folder.

    Args:
        folder: where they are, beside the settings that they were made with.
        processes: this process, whose rows go to a file of its own, and the others.
    """

    folder: Path
    processes: Processes

    def prepare(self, settings: dict[str, Any], resume: bool) -> None:
        """
        Makes the folder ready for the rows of these settings, before any process reads or writes some.

        Raises:
            ValueError: there are rows already, and the run does not resume them or has other settings.
            OSError: the folder cannot be written to.
        """
        file = self.folder / SETTINGS
        if file.exists():
            if not resume:
                raise ValueError(f"{self.folder} holds rows already; choose another folder, or continue with --resume")
            _require_same(settings, file)
            for pattern in (f"rows-*{LINES}", THUMBNAILS):
                for lines in self.folder.glob(pattern):
                    _drop_half_line(lines)
        else:
            with written_aside(file) as aside:
                aside.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def done(self) -> "Done":
        """The images that have a row, written by any number of processes."""
        return Done(heapq.merge(*map(_read_rows, sorted(self._files())), key=_key))

    @contextmanager
    def writer(self) -> Iterator[Callable[[Item, Row], None]]:
        """A context that gives a function to append one row of this process with."""
        rank, size, _ = self.processes
        with (self.folder / f"rows-{rank:05}-of-{size:05}{LINES}").open("a", encoding="utf-8") as file:

            def write(item: Item, row: Row) -> None:
                file.write(json.dumps({"shard": item.shard, "index": item.position} | row._asdict()) + "\n")
                file.flush()

            yield write

    def to_parquet(self) -> None:
        """Turns this process's share of the files into Parquet. No process may be writing any more."""
        for file in self.processes.share(sorted(self._files())):
            if file.with_suffix(LINES).exists():
                _write_parquet(_read_rows(file), file.with_suffix(TABLE))
                file.with_suffix(LINES).unlink()

    def _files(self) -> set[Path]:
        """The files without their suffixes. New rows of a finished table lie beside it as lines."""
        return {file.with_suffix("") for suffix in (LINES, TABLE) for file in self.folder.glob(f"rows-*{suffix}")}


class Done:
    """
    Tells which items have a row. It must be asked for them in ascending order.

    Args:
        rows: as files have them, ascending.
    """

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self._rows = iter(rows)
        self._row = next(self._rows, None)

    def outcome(self, item: Item) -> tuple[str, ...] | None:
        """
        What the item's row counts as; `None` if there is no row.

        Raises:
            ValueError: the row at the item's place is of another image.
        """
        key = (item.shard, item.position)
        while self._row is not None and _key(self._row) < key:
            self._row = next(self._rows, None)
        if self._row is None or _key(self._row) != key:
            return None
        if self._row["path"] != item.path:
            earlier = self._row["path"]
            raise ValueError(f"its image {item.position} was {earlier} and is {item.path} now; choose another folder")
        return outcome(self._row["label"], self._row["error"])


def _require_same(settings: dict[str, Any], file: Path) -> None:
    earlier = read_record(file)
    now = json.loads(json.dumps(settings))  # tuples are lists in a file
    others = [
        f"{name} {earlier.get(name)} is now {value}" for name, value in now.items() if earlier.get(name) != value
    ]
    if others:
        raise ValueError(f"{file.parent} holds rows of other settings ({', '.join(others)}); choose another folder")


def _drop_half_line(file: Path) -> None:
    """Cuts off what follows the last line break."""
    if file.stat().st_size:
        with file.open("rb+") as opened, mmap(opened.fileno(), 0) as content:
            opened.truncate(content.rfind(b"\n") + 1)


def _key(row: dict[str, Any]) -> Key:
    return row["shard"], row["index"]


def _read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table, then those of its lines that come after them."""
    last: Key = (-1, -1)
    if file.with_suffix(TABLE).exists():
        for row in _read_parquet(file.with_suffix(TABLE)):
            last = _key(row)
            yield row
    if file.with_suffix(LINES).exists():
        yield from (row for row in _read_lines(file.with_suffix(LINES)) if _key(row) > last)


def _read_lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                return  # another process is writing it
            try:
                row = json.loads(line)
                _key(row), row["path"], row["label"], row["error"]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{file}: line {number} is damaged; choose another folder") from error
            yield row


def _read_parquet(file: Path) -> Iterator[dict[str, Any]]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as table:
        for batch in table.iter_batches(ROW_GROUP):
            yield from batch.to_pylist()


def _write_parquet(rows: Iterator[dict[str, Any]], target: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    types = {"shard": pa.int64(), "index": pa.int64()} | dict.fromkeys(Row._fields, pa.string())
    region = {"box": pa.list_(pa.int64()), "area": pa.int64(), "peak": pa.float64(), "mean": pa.float64()}
    schema = pa.schema(types | {"score": pa.float64(), "regions": pa.list_(pa.struct(region.items()))})
    with written_aside(target) as aside, ParquetWriter(aside, schema) as writer:
        while group := list(islice(rows, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))
