"""`fbclip push`: publishes a model's folder on the Hub, and a Space to try the model in."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import Format
from modeling_fbclip.cli.tables import print_csv, print_json, print_table

if TYPE_CHECKING:
    from modeling_fbclip.hub import Pushed, StagedFile

BUNDLED_NAME = "bundled"
SECRET_NEEDED = "yet: add a token with read access in its settings on the Hub, as a secret named HF_TOKEN"
EXAMPLE_SPACE = "owner/space"  # the Space in a dry run without --space


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
    private: Annotated[bool, typer.Option("--private", help="Make new repositories private.")] = False,
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
    with_references: Annotated[
        bool, typer.Option("--with-references", help="Publish what the model remembers of good images, too.")
    ] = False,
    without_record: Annotated[
        bool,
        typer.Option(
            "--without-record",
            help="Leave out the records of training and calibration: digests of images, category names, arguments.",
        ),
    ] = False,
    license: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Licence of the weights, as the Hub names it, such as cc-by-nc-sa-4.0.",
            show_default="apache-2.0",
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Model that this one was made from.",
            show_default="the recorded one, or its CLIP",
        ),
    ] = None,
    hardware: Annotated[
        str, typer.Option(help="Hardware suggested for the Space, such as t4-small. A CPU gets torch without CUDA.")
    ] = "cpu-basic",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files of model and Space; upload nothing.")
    ] = False,
    stage: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Empty folder to keep the files in, as model/ and space/.", show_default="none"
        ),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Form of the list on stdout.")] = "table",
) -> None:
    """
    Publish a model on the Hub, and a Space to try it in.

    The token comes from 'hf auth login' or HF_TOKEN. Each repository gets one commit, or none if nothing has
    changed. After an error it is unchanged.

    \b
    Example:
      fbclip push my-model owner/name --space owner/name-demo
    """
    from huggingface_hub.utils import disable_progress_bars

    from modeling_fbclip.common.provenance import TRAINING_RECORD
    from modeling_fbclip.detection.loading import BUNDLED, quieten_libraries
    from modeling_fbclip.hub import Terms, stage_folders, upload_folders
    from modeling_fbclip.hub.evaluation_report import read_report
    from modeling_fbclip.hub.privacy import told_of_data
    from modeling_fbclip.hub.publish import require_targets, staging_folder
    from modeling_fbclip.hub.terms import APACHE

    quieten_libraries()
    if not sys.stderr.isatty():
        disable_progress_bars()
    require_targets(repo_id, space, revision)
    terms = Terms(APACHE if license is None else license, base_model, not without_record, hardware)
    with blamed_on(None):
        terms.check()
    if evaluation is not None:
        with blamed_on("--evaluation"):
            read_report(evaluation)
    source = BUNDLED if model_dir == BUNDLED_NAME else Path(model_dir)
    staged_space = space or (EXAMPLE_SPACE if dry_run else None)
    with blamed_on("--stage"), staging_folder(stage) as folder:
        with blamed_on("MODEL_DIR"):
            files = stage_folders(source, repo_id, folder, staged_space, evaluation, with_references, terms)
        for line in told_of_data(folder / "model"):
            typer.echo(line, err=True)
        if license is None and (source / TRAINING_RECORD).is_file():
            typer.echo(
                f"the weights get the licence {APACHE}; if their data forbid it, give another by --license", err=True
            )
        with blamed_on(None):
            pushed = [] if dry_run else upload_folders(folder, repo_id, space, private, revision)
    _write(files, pushed, form)
    kept = "" if stage is None else f" to {stage}"
    typer.echo(f"staged{kept}, nothing uploaded" if dry_run else "\n".join(map(_sentence, pushed)), err=True)
    if private and space is not None:
        typer.echo(f"{space} cannot read the private {repo_id} {SECRET_NEEDED}", err=True)


def _write(files: "list[StagedFile]", pushed: "list[Pushed]", form: Format) -> None:
    if form == "json":
        print_json({"files": [file._asdict() for file in files], "pushed": [repo._asdict() for repo in pushed]})
    elif form == "csv":
        print_csv(("part", "path", "size"), files)
    else:
        from rich.filesize import decimal

        rows = [(file.part, file.path, decimal(file.size)) for file in files]
        total = ("", f"{len(files)} files", decimal(sum(file.size for file in files)))
        print_table(("part", "file", "size"), rows, ("size",), total)


def _sentence(pushed: "Pushed") -> str:
    done = f"published, commit {pushed.commit[:8]}" if pushed.changed else "nothing has changed, no commit made"
    return f"{pushed.url}: {done}"
