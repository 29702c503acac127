"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Model = Annotated[str | None, typer.Option(help="Folder or Hub id of a model.", show_default="the bundled one")]
Split = Annotated[str, typer.Option(help="Split of the data set.")]
Layout = Annotated[str | None, typer.Option(help="Layout to read DATA by.", show_default="the one recognised")]
Category = Annotated[list[str] | None, typer.Option(help="A category to use; may be repeated.", show_default="all")]
Streaming = Annotated[
    bool, typer.Option("--streaming", help="Read the data set as it comes, without downloading it first.")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images that go through the model at once.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, mps …", show_default="an accelerator if there is one")]
Dtype = Annotated[Literal["float32", "bfloat16", "float16"], typer.Option(help="Number type of the weights.")]
WhiteLevel = Annotated[
    float | None,
    typer.Option(
        min=1, help="Value of white in images of more than 8 bits.", show_default="the processor's, or the file's"
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")]
Format = Literal["table", "json", "csv"]


def require_empty(output: Path, force: bool) -> None:
    """
    Raises:
        typer.BadParameter: if there is something in the folder, unless `--force` is given.
    """
    from modeling_fbclip.common.files import is_empty

    if not force and not is_empty(output):
        raise typer.BadParameter(f"{output} is not empty; choose another folder, or --force", param_hint="--output")
