"""`fbclip datasets`: the data sets of the paper, and a check of one on a disk."""

import csv
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import Format

if TYPE_CHECKING:
    from modeling_fbclip.data.check import Findings

datasets = typer.Typer(rich_markup_mode=None)

# What a terminal has room for.
BRIEFLY = ("name", "domain", "layout", "categories", "licence", "source")
CHECKED = ("split", "category", "normal", "anomalous", "masks", "path", "problem")

FormatOption = Annotated[Format, typer.Option("--format", help="Form of what is written to stdout.")]


@datasets.callback(invoke_without_command=True)
def list_known(context: typer.Context, form: FormatOption = "table") -> None:
    """
    List the data sets of the paper, or check one on a disk.

    \b
    Example:
      fbclip datasets --format json
    """
    if context.invoked_subcommand is not None:
        return
    from modeling_fbclip.data.registry import KNOWN_DATASETS

    known = [dataset._asdict() for dataset in KNOWN_DATASETS.values()]
    if form == "json":
        print(json.dumps(known, indent=2))
        return
    header = list(known[0]) if form == "csv" else BRIEFLY
    brief = [row | {"categories": len(row["categories"])} for row in known]
    _write_rows(form, header, [[row[name] for name in header] for row in brief])


@datasets.command()
def check(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Folder of a data set, or its name on the Hub.", show_default=False)
    ],
    layout: Annotated[
        str | None, typer.Option(help="Layout to read it by.", show_default="the one recognised")
    ] = None,
    form: FormatOption = "table",
) -> None:
    """
    Say how a data set is laid out, how many of what it holds, and what is odd in it.

    Every file is read. The exit status is 1 if something is odd: a file that cannot be read, an image
    without its mask, a mask of another size, an empty one of an anomalous image, a missing category.

    \b
    Example:
      fbclip datasets check mvtec_anomaly_detection
    """
    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.data.check import check_anomaly_dataset

    with blamed_on("PATH"), progress_bar(None, "check") as progress:
        findings = check_anomaly_dataset(path, layout, on_image=partial(progress.update, 1))
    _write_findings(findings, form)
    typer.echo(_summary(findings), err=True)
    if findings.oddities:
        raise typer.Exit(1)


def _write_findings(findings: "Findings", form: Format) -> None:
    counts = [count._asdict() for count in findings.counts]
    oddities = [oddity._asdict() for oddity in findings.oddities]
    if form == "json":
        print(json.dumps(findings._asdict() | {"counts": counts, "oddities": oddities}, indent=2))
    elif form == "csv":
        _write_rows(form, CHECKED, [[row.get(name, "") for name in CHECKED] for row in counts + oddities])
    else:
        known = f", {findings.known_as}" if findings.known_as else ""
        print(f"{_printable(findings.path)}: layout {findings.layout}{known}")
        for rows in filter(None, (counts, oddities)):
            _write_rows(form, list(rows[0]), [list(row.values()) for row in rows])


def _write_rows(form: Format, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([header, *rows])
        return
    # On a pipe, lines are as long as they need to be.
    console = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else 10_000)
    table = Table(box=box.SIMPLE_HEAD)
    for name, *values in zip(header, *rows, strict=True):
        numbers = all(isinstance(value, int) for value in values)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_printable(str(value)) for value in row))
    console.print(table)


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _summary(findings: "Findings") -> str:
    normal = sum(count.normal for count in findings.counts)
    anomalous = sum(count.anomalous for count in findings.counts)
    odd = len(findings.oddities)
    return (
        f"{normal + anomalous} image{'s' * (normal + anomalous != 1)}, {anomalous} anomalous; "
        f"{odd or 'nothing'} odd{' (exit status 1)' * bool(odd)}"
    )
