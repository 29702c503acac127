"""The commands of `fbclip`. A new one is a file of its own, with one import and one line here."""

import io
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from modeling_fbclip.cli.calibrate import calibrate
from modeling_fbclip.cli.convert import convert
from modeling_fbclip.cli.datasets import datasets
from modeling_fbclip.cli.demo import demo
from modeling_fbclip.cli.detect import detect
from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.evaluate import evaluate
from modeling_fbclip.cli.export import export
from modeling_fbclip.cli.push import push
from modeling_fbclip.cli.remember import remember
from modeling_fbclip.cli.train import train
from modeling_fbclip.common.messages import one_line

# Options that take several values, and which arguments are such values.
MANY = {"--shots": str.isdecimal, "--models": lambda argument: not argument.startswith("-")}

app = typer.Typer(
    help="Zero-shot anomaly detection and localisation with FB-CLIP.",
    epilog="Example: fbclip detect photo.jpg --output heatmaps",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(detect)
app.command()(convert)
app.command()(evaluate)
app.command()(calibrate)
app.command()(remember)
app.command()(train)
app.command()(export)
app.command()(demo)
app.command()(push)
app.add_typer(datasets, name="datasets")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fbclip {version('modeling-fbclip')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


def _spread(arguments: list[str]) -> list[str]:
    """`--shots 1 2 4` as `--shots 1 --shots 2 --shots 4`, which is the form that the parser knows."""
    spread: list[str] = []
    for argument in arguments:
        option, before = spread[-2:] if len(spread) > 1 else ("", "")
        is_value = MANY.get(option, lambda _: False)
        spread += [option, argument] if is_value(before) and is_value(argument) else [argument]
    return spread


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit status. A user's mistake is told in one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be valid text
    try:
        with blamed_on(None):
            return app(args=_spread(arguments) or ["--help"], prog_name="fbclip", standalone_mode=False) or 0
    except typer.TyperException as error:
        typer.echo(f"fbclip: {one_line(error.format_message())}", err=True)
        return error.exit_code
