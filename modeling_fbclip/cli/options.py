"""Options that several commands share."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

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
    str | None,
    typer.Option(
        metavar="<N|auto>",
        help="Value of white in images of more than 8 bits that do not declare it; auto: by the first 100 images.",
        show_default="the processor's, or the number type's",
    ),
]
MaxMegapixels = Annotated[
    float | None,
    typer.Option(min=0.001, help="Larger images are refused.", show_default="the processor's, else 200"),
]
TileSize = Annotated[
    str | None,
    typer.Option(
        "--tile",
        metavar="<N|auto|none>",
        help="Look at tiles of N pixels too; auto: of the model's size, in images of more than 1.5 times that.",
        show_default="the processor's",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(min=1, help="Pixels that a tile's margin reaches into the next.", show_default="an eighth of a tile"),
]
KeepAspect = Annotated[
    bool | None,
    typer.Option(help="Whether images keep their shape, or become squares.", show_default="the processor's"),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAME=COLUMN,…",
        help="Columns of a table for image, mask, label, category, defect; and normal=VALUE of the labels.",
        show_default="by their names",
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


def choose_white_level(
    given: str | None, max_megapixels: float | None, images: Iterable[Callable[[], Any]], is_main: bool = True
) -> float | None:
    """
    The number that `--white-level` gives, or that `auto` finds in the first of the images and prints.

    Raises:
        typer.BadParameter: if it is neither a number from 1 on nor `auto`.
    """
    if given is None:
        return None
    if given == "auto":
        from modeling_fbclip.detection.white_level import find_white_level
        from modeling_fbclip.files_fbclip import MAX_MEGAPIXELS

        return find_white_level(
            images, max_megapixels or MAX_MEGAPIXELS, lambda line: typer.echo(line, err=True) if is_main else None
        )
    try:
        white_level = float(given)
    except ValueError:
        white_level = math.nan
    if not 1 <= white_level < math.inf:
        raise typer.BadParameter(
            f"{given!r} is neither a number from 1 on, such as 4095, nor auto", param_hint="--white-level"
        )
    return white_level


def processor_settings(
    images: Iterable[Callable[[], Any]],
    white_level: str | None,
    max_megapixels: float | None,
    score: str | None = None,
    is_main: bool = True,
) -> dict[str, Any]:
    """What these options say in place of the processor's own settings."""
    white = choose_white_level(white_level, max_megapixels, images, is_main)
    given = {"white_level": white, "max_megapixels": max_megapixels, "score": score}
    return {name: value for name, value in given.items() if value is not None}


def view_settings(tile: str | None, overlap: int | None, keep_aspect: bool | None) -> dict[str, Any]:
    """
    What `--tile`, `--overlap` and `--keep-aspect` say in place of the processor's own settings.

    Raises:
        typer.BadParameter: if `--tile` is of another form.
    """
    given: dict[str, Any] = {"overlap": overlap, "keep_aspect": keep_aspect}
    settings = {name: value for name, value in given.items() if value is not None}
    if tile is None:
        return settings
    if not (tile in ("auto", "none") or (tile.isascii() and tile.isdigit() and int(tile))):
        raise typer.BadParameter(f"{tile!r} is neither a number of pixels, nor auto, nor none", param_hint="--tile")
    return settings | {"tile": int(tile) if tile.isdigit() else {"auto": "auto", "none": None}[tile]}


def parse_columns(columns: str | None) -> dict[str, str]:
    """
    The value of `--columns`.

    Raises:
        typer.BadParameter: if it is of another form.
    """
    pairs = [pair.partition("=") for pair in (columns or "").split(",") if pair.strip()]
    if wrong := next((name for name, sign, value in pairs if not (name.strip() and sign and value.strip())), None):
        raise typer.BadParameter(f"{wrong!r} names no column; write image=photo,label=state", param_hint="--columns")
    return {name.strip(): value.strip() for name, _, value in pairs}


def tell_leftovers(data: str, layout: str | None, columns: dict[str, str]) -> None:
    """Says on stderr what in the folder of a data set is neither an image nor a mask of it, if there is anything."""
    from modeling_fbclip.data.leftovers import find_leftovers

    if left := str(find_leftovers(data, layout, columns)):
        typer.echo(f"{data}{left}", err=True)


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
