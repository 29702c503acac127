"""Tables that list files: CSV with commas, semicolons or tabs, JSON lines, Parquet."""

import csv
import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from io import StringIO
from pathlib import Path
from typing import Any

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
DELIMITERS = ",;\t"

Row = dict[str, Any]


def read_table(path: Path) -> list[Row]:
    """The rows of a table by its columns; ValueError that names the file if it is damaged."""
    if path.suffix == ".jsonl":
        return _read_json_lines(path)
    return _read_parquet(path) if path.suffix == ".parquet" else read_csv(path)


def read_csv(path: Path) -> list[Row]:
    """The rows of a CSV file with a header. The most frequent delimiter of the header separates columns."""
    try:
        text = _decode(path.read_bytes())
        delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        lines = StringIO(text, newline="")
        rows = list(csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True, restkey="", restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: is not readable as CSV ({error}); write the file anew.") from error
    return [{name.strip(): value for name, value in row.items() if isinstance(value, str)} for row in rows]


def _decode(data: bytes) -> str:
    """Text in UTF-8; or as spreadsheets also write it, in UTF-16 with its mark, or in Windows' Western code page."""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _read_json_lines(path: Path) -> list[Row]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not readable as JSON lines ({error}); write the file anew.") from error
    return [row for row in rows if isinstance(row, dict)]


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(path)
        plain = [name for name in schema.names if not pa.types.is_nested(schema.field(name).type)]
        return list(parquet.read_table(path, columns=plain).to_pylist())  # no pictures
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"{path}: is not readable as Parquet ({error}); write the file anew.") from error
