"""Results on stdout: a table for a reader, CSV or JSON for a program."""

import csv
import io
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from modeling_fbclip.cli.stdout import printing

if TYPE_CHECKING:
    from rich.text import Text

WIDE = 10_000  # characters: a table on a pipe is not wrapped


def print_json(value: object) -> None:
    with printing():
        print(json.dumps(value, indent=2, allow_nan=False))


def print_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with printing():
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *rows])


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    numeric: Collection[str] = (),
    total: Sequence[object] = (),
    title: str | None = None,
) -> None:
    """
    A table as wide as the terminal, or as wide as it needs on a pipe.

    Args:
        header: the names of the columns.
        rows: the cells of each row.
        numeric: the names of the columns that are aligned right.
        total: the cells of a last row, set apart; empty for none.
        title: a line above the table, which then has a frame.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.HEAVY_HEAD if title else box.SIMPLE_HEAD)
    for name in header:
        table.add_column(name, justify="right" if name in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    if total:
        table.add_section()
        table.add_row(*map(_cell, total), style="bold")
    # rich would end in its own way when the reader has gone, and take 80 columns where TERM is dumb.
    on_terminal, text = sys.stdout.isatty(), io.StringIO()
    width = Console().width if on_terminal else WIDE
    Console(file=text, force_terminal=on_terminal, width=width, height=25).print(table)
    with printing():
        print(text.getvalue(), end="")


def printable(text: str) -> str:
    """A name with its line breaks and control characters written out, as `\\n`."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _cell(value: object) -> "Text":
    from rich.text import Text

    return Text(printable(str(value)))  # rich would read markup in a string
