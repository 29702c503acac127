"""`fbclip push`: a model's folder in; a model, and a Space to try it in, on the Hub."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import Format

if TYPE_CHECKING:
    from modeling_fbclip.hub import Pushed, StagedFile

BUNDLED_NAME = "bundled"
SECRET_NEEDED = "until it has a token that may: add one in its settings on the Hub, as a secret named HF_TOKEN"
ANY_SPACE = "owner/space"  # that a dry run stages where none is named


def push(
    model_dir: Annotated[
        str, typer.Argument(metavar="MODEL_DIR", help="Folder of a model, or 'bundled'.", show_default=False)
    ],
    repo_id: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Name of the model on the Hub.", show_default=False)
    ],
    space: Annotated[
        str | None, typer.Option(metavar="OWNER/SPACE", help="Name of a Space to try it in.", show_default="none")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make what is new private.")] = False,
    revision: Annotated[
        str | None,
        typer.Option(help="Branch of the model, made if missing; not with --space.", show_default="the main one"),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Report of fbclip evaluate, for the card.",
            show_default="evaluation.json in MODEL_DIR, if any",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be uploaded, model and Space; upload nothing.")
    ] = False,
    stage: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Empty folder to keep it in, as model/ and space/.", show_default="none"),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Form of the listing on stdout.")] = "table",
) -> None:
    """
    Publish a model on the Hub, and a Space to try it in.

    The token is that of 'hf auth login' or HF_TOKEN. Each repository gets one commit, or none where nothing has
    changed; after an error it is as it was.

    \b
    Example:
      fbclip push my-model owner/name --space owner/name-demo
    """
    from huggingface_hub.utils import disable_progress_bars

    from modeling_fbclip.detection.loading import quieten_libraries
    from modeling_fbclip.hub import stage_folders, upload_folders
    from modeling_fbclip.hub.publish import require_targets
    from modeling_fbclip.hub.results import read_report

    quieten_libraries()
    if not sys.stderr.isatty():
        disable_progress_bars()
    require_targets(repo_id, space, revision)
    if evaluation is not None:
        with blamed_on("--evaluation"):
            read_report(evaluation)
    with blamed_on("--stage"), _folder(stage) as folder:
        with blamed_on("MODEL_DIR"):
            staged_space = space or (ANY_SPACE if dry_run else None)
            files = stage_folders(_source(model_dir), repo_id, folder, staged_space, evaluation)
        pushed = [] if dry_run else upload_folders(folder, repo_id, space, private, revision)
    _write(files, pushed, form)
    kept = "" if stage is None else f" to {stage}"
    typer.echo(f"staged{kept}, nothing uploaded" if dry_run else "\n".join(map(_sentence, pushed)), err=True)
    if private and space is not None:
        typer.echo(f"{space} cannot read the private {repo_id} {SECRET_NEEDED}", err=True)


def _source(model_dir: str) -> Path:
    from modeling_fbclip.detection.loading import BUNDLED

    return BUNDLED if model_dir == BUNDLED_NAME else Path(model_dir)


@contextmanager
def _folder(stage: Path | None) -> Iterator[Path]:
    """The folder to keep, which is there when all went well, or one that goes."""
    if stage is None:
        with TemporaryDirectory(prefix="fbclip-push-") as folder:
            yield Path(folder)
        return
    if stage.is_dir() and any(stage.iterdir()):
        raise ValueError(f"{stage} is not empty; choose another folder")
    from modeling_fbclip.common.files import written_aside

    with written_aside(stage.resolve()) as folder:
        folder.mkdir()
        yield folder


def _write(files: "list[StagedFile]", pushed: "list[Pushed]", form: Format) -> None:
    if form == "json":
        report = {"files": [file._asdict() for file in files], "pushed": [repo._asdict() for repo in pushed]}
        print(json.dumps(report, indent=2))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([("part", "path", "size"), *files])
    else:
        # On a pipe, lines are as long as they need to be.
        console = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else 10_000)
        table = Table(box=box.SIMPLE_HEAD, show_footer=True)
        table.add_column("part")
        table.add_column("file", f"{len(files)} files", overflow="fold")
        table.add_column("size", decimal(sum(file.size for file in files)), justify="right")
        for file in files:
            table.add_row(file.part, file.path, decimal(file.size))
        console.print(table)


def _sentence(pushed: "Pushed") -> str:
    done = f"published, commit {pushed.commit[:8]}" if pushed.changed else "nothing has changed, no commit made"
    return f"{pushed.url}: {done}"
