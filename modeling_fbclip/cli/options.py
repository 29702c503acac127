"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from modeling_fbclip.cli.errors import blamed_on

Model = Annotated[str | None, typer.Option(help="Folder or Hub id of a model.", show_default="the bundled one")]
Split = Annotated[str, typer.Option(help="Split of the data set.")]
ChosenSplit = Annotated[
    str | None,
    typer.Option(help="Split of the data set.", show_default="train if it has what is needed, else test"),
]
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
Score = Annotated[
    Literal["cls", "map_max", "map_top1"] | None,
    typer.Option(
        help="Score of an image: of the CLS token, or of the map: its largest value, or the mean of its largest 1 %.",
        show_default="the processor's",
    ),
]
Format = Literal["table", "json", "csv"]


def require_free(output: Path, force: bool) -> None:
    """
    Raises:
        typer.BadParameter: if the folder cannot be written to, or if there is something in it, unless `--force` is
            given.
    """
    from modeling_fbclip.common.files import is_empty, require_writable

    with blamed_on("--output"):
        if not force and not is_empty(output):
            raise ValueError(f"{output} is not empty; choose another folder, or --force")
        require_writable(output)
