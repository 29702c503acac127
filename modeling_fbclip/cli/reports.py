"""Rows on stdout, each written as soon as it is known: a table for a reader, JSON or CSV for a program."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import typer

from modeling_fbclip.cli.stdout import printing
from modeling_fbclip.cli.tables import printable
from modeling_fbclip.common.progress import print_beside_bar
from modeling_fbclip.detection.rows import CELLS, Row, cells

WriteRow = Callable[[Row], None]


def _say(text: str) -> None:
    with printing():
        print_beside_bar(text)


def open_report(form: str) -> AbstractContextManager[WriteRow]:
    """A context that gives a function to write one row with, and closes the report at its end."""
    return {"table": _table, "json": _json, "csv": _csv}[form]()


@contextmanager
def _table() -> Iterator[WriteRow]:
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def write(row: Row) -> None:
        score = "-" if row.score is None else f"{row.score:.3f}"
        label = f"{row.label or 'error':<9}"
        colour = typer.colors.RED if row.label == "anomalous" else typer.colors.GREEN
        colour = typer.colors.YELLOW if row.error else colour
        _say(
            f"{score:>5}  {typer.style(label, fg=colour) if coloured else label}  "
            f"{printable(row.path)} → {printable(row.error or str(row.overlay))}"
        )

    _say(f"{'score':>5}  {'label':<9}  image → overlay")
    yield write


@contextmanager
def _json() -> Iterator[WriteRow]:
    comma = ""

    def write(row: Row) -> None:
        nonlocal comma
        _say(comma + json.dumps(row._asdict(), allow_nan=False))
        comma = ","

    _say("[")
    try:
        yield write
    finally:
        _say("]")  # so that a broken run leaves a valid JSON document too


@contextmanager
def _csv() -> Iterator[WriteRow]:
    def write(values: Sequence[object]) -> None:
        with printing():
            writer.writerow(values)

    writer = csv.writer(sys.stdout, lineterminator="\n")
    write(CELLS)
    yield lambda row: write(cells(row))
