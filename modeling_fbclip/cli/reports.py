"""Rows on stdout, each written as soon as it is known: a table for a reader, JSON or CSV for a program."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import typer

from modeling_fbclip.cli.tables import printable
from modeling_fbclip.common.progress import print_beside_bar
from modeling_fbclip.detection.rows import Row

WriteRow = Callable[[Row], None]


def open_report(form: str) -> AbstractContextManager[WriteRow]:
    """A context that gives a function to write one row with, and closes the report at its end."""
    return {"table": _table, "json": _json, "csv": _csv}[form]()


@contextmanager
def _table() -> Iterator[WriteRow]:
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def write(row: Row) -> None:
        if row.error is not None:
            score, label, colour, result = "-", "error", typer.colors.YELLOW, row.error
        else:
            colour = typer.colors.RED if row.label == "anomalous" else typer.colors.GREEN
            score, label, result = f"{row.score:.3f}", str(row.label), str(row.overlay)
        label = f"{label:<9}"
        print_beside_bar(
            f"{score:>5}  {typer.style(label, fg=colour) if coloured else label}  "
            f"{printable(row.path)} → {printable(result)}"
        )

    print_beside_bar(f"{'score':>5}  {'label':<9}  image → overlay")
    yield write


@contextmanager
def _json() -> Iterator[WriteRow]:
    comma = ""

    def write(row: Row) -> None:
        nonlocal comma
        print_beside_bar(comma + json.dumps(row._asdict(), allow_nan=False))
        comma = ","

    print_beside_bar("[")
    try:
        yield write
    finally:
        print_beside_bar("]")  # so that a broken run leaves a valid JSON document too


@contextmanager
def _csv() -> Iterator[WriteRow]:
    def write(row: Sequence[object]) -> None:
        writer.writerow(row)
        sys.stdout.flush()

    writer = csv.writer(sys.stdout, lineterminator="\n")
    write(Row._fields)
    yield write
