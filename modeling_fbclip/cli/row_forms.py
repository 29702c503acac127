"""The forms of the rows of `fbclip detect`, and where each goes: to stdout, or to files of the output folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    from modeling_fbclip.detection.processes import Processes
    from modeling_fbclip.detection.results import Results
    from modeling_fbclip.detection.rows import Row
    from modeling_fbclip.detection.sources import Item

# The forms of the rows: three on stdout, two in files of --output.
RowFormat = Literal["table", "json", "csv", "jsonl", "parquet"]
FILES = ("jsonl", "parquet")


def choose_format(form: RowFormat | None, to_files: bool) -> RowFormat:
    """The form that is given, if it fits and its library is there, or the usual one; else typer.BadParameter."""
    if form is None:
        return "jsonl" if to_files else "table"
    if to_files and form not in FILES:
        raise typer.BadParameter(
            f"{form} is for stdout; several processes, and --resume, write jsonl or parquet to --output",
            param_hint="--format",
        )
    if form == "parquet" and find_spec("pyarrow") is None:
        raise typer.BadParameter(
            "parquet needs the library pyarrow: pip install 'modeling-fbclip[train]'", param_hint="--format"
        )
    return form


@contextmanager
def writing(
    form: RowFormat, results: "Results", processes: "Processes", settings: dict[str, Any], resume: bool
) -> Iterator[tuple[Any, Callable[["Item", "Row"], None]]]:
    """Which images are done, and a function that writes a row: to stdout, or to this process's file."""
    from modeling_fbclip.cli.reports import open_report
    from modeling_fbclip.detection.row_files import Done, RowFolder

    if form not in FILES:
        with open_report(form) as write:
            yield Done([]), lambda _, row: write(row)
        return
    folder = RowFolder(results.output, processes)
    if processes.is_main:
        folder.prepare(results.settings() | settings, resume)  # reads all weights, so only for files
    processes.wait()
    with folder.writer() as write_line:
        yield folder.done(), write_line
    processes.wait()
    if form == "parquet":
        folder.to_parquet()
