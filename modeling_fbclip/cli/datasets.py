"""`fbclip datasets`: the data sets of the paper, and a check of one on a disk."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import (
    Columns,
    Format,
    MaxMegapixels,
    WhiteLevel,
    choose_white_level,
    parse_columns,
)
from modeling_fbclip.cli.stdout import printing
from modeling_fbclip.cli.tables import print_csv, print_json, print_table, printable

if TYPE_CHECKING:
    from modeling_fbclip.data.check import Findings

datasets = typer.Typer(rich_markup_mode=None)

# The columns that fit into a terminal.
BRIEFLY = ("name", "domain", "layout", "categories", "licence", "source")
NUMBERS = ("categories", "normal", "anomalous", "masks")
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
    rows = [row | {"categories": len(row["categories"])} for row in known]
    if form == "json":
        print_json(known)
    elif form == "csv":
        print_csv(list(rows[0]), [list(row.values()) for row in rows])
    else:
        print_table(BRIEFLY, [[row[name] for name in BRIEFLY] for row in rows], NUMBERS)


@datasets.command()
def check(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Folder of a data set, or its name on the Hub.", show_default=False)
    ],
    layout: Annotated[
        str | None, typer.Option(help="Layout to read it by.", show_default="the one recognised")
    ] = None,
    columns: Columns = None,
    form: FormatOption = "table",
    white_level: WhiteLevel = None,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """
    Show the layout of a data set, count its images and masks, and list what is odd in it.

    Every file is read. The exit status is 1 if something is odd: a file that cannot be read, an image
    without its mask, a mask that does not fit, a picture that is neither image nor mask, or that is there
    twice.

    \b
    Example:
      fbclip datasets check mvtec_anomaly_detection
    """
    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.data.check import check_anomaly_dataset
    from modeling_fbclip.files_fbclip import MAX_MEGAPIXELS

    with blamed_on("PATH"):
        named = parse_columns(columns)
        white = choose_white_level(white_level, max_megapixels, _images(path, layout, named))
        with progress_bar(None, "check") as progress:
            tell = partial(progress.update, 1)
            most = max_megapixels or MAX_MEGAPIXELS
            findings = check_anomaly_dataset(path, layout, tell, white, most, named)
    _write_findings(findings, form)
    typer.echo(_summary(findings), err=True)
    if findings.oddities:
        raise typer.Exit(1)


def _images(path: str, layout: str | None, columns: dict[str, str]) -> Iterator[Callable[[], Any]]:
    """Functions that give the images of all splits, in the order of the check."""
    from modeling_fbclip.data import load_anomaly_dataset
    from modeling_fbclip.data.check import find_splits
    from modeling_fbclip.detection.white_level import images_of

    for split in find_splits(path, layout, columns)[0]:
        yield from images_of(load_anomaly_dataset(path, split, layout=layout, streaming=True, columns=columns))


def _write_findings(findings: "Findings", form: Format) -> None:
    counts = [count._asdict() for count in findings.counts]
    oddities = [oddity._asdict() for oddity in findings.oddities]
    if form == "json":
        print_json(findings._asdict() | {"counts": counts, "oddities": oddities})
    elif form == "csv":
        print_csv(CHECKED, [[row.get(name, "") for name in CHECKED] for row in counts + oddities])
    else:
        known = f", {findings.known_as}" if findings.known_as else ""
        with printing():
            print(f"{printable(findings.path)}: layout {findings.layout}{known}")
        for rows in filter(None, (counts, oddities)):
            print_table(list(rows[0]), [list(row.values()) for row in rows], NUMBERS)


def _summary(findings: "Findings") -> str:
    from modeling_fbclip.common.listing import describe

    normal = sum(count.normal for count in findings.counts)
    anomalous = sum(count.anomalous for count in findings.counts)
    odd = len(findings.oddities)
    return (
        f"{normal + anomalous} image{'s' * (normal + anomalous != 1)}, {anomalous} anomalous; "
        f"{odd or 'nothing'} odd{' (exit status 1)' * bool(odd)}{describe(findings.left_out)}"
    )
