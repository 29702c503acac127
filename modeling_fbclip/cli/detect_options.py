"""The options of `fbclip detect` alone."""

from pathlib import Path
from typing import Annotated

import typer

from modeling_fbclip.cli.row_forms import RowFormat

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH", help="Images, folders of images, or globs. scan.tif#3: page 3, from 0.", show_default=False
    ),
]
Data = Annotated[
    str | None, typer.Option(help="Folder or Hub id of a data set, in place of PATH.", show_default="none")
]
DataSplit = Annotated[str | None, typer.Option(help="Split of the data set.", show_default="test")]
DataLayout = Annotated[
    str | None, typer.Option(help="Layout to read the data set by.", show_default="the one recognised")
]
ImageCategory = Annotated[
    list[str] | None,
    typer.Option(
        help="The images' category, whose thresholds decide. Of a data set: one to use; may be repeated.",
        show_default="none; all of a data set",
    ),
]
Output = Annotated[Path, typer.Option(help="Folder for overlays, maps and files of rows.")]
References = Annotated[
    list[str] | None,
    typer.Option(
        help="Good images of the product to compare with: a file, folder or glob; may be repeated.",
        show_default="the model's, if it has some",
    ),
]
Mutual = Annotated[
    bool, typer.Option("--mutual", help="Compare the images with one another; a third may be anomalous.")
]
MutualSample = Annotated[int, typer.Option(min=8, help="Images that each is compared with, by --mutual.")]
Seed = Annotated[int, typer.Option(help="Of the choice of these images.")]
Overlays = Annotated[bool, typer.Option(help="Whether overlays are written.")]
Maps = Annotated[bool, typer.Option(help="Whether maps are written.")]
Threshold = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Score from which an image is anomalous.", show_default="the model's"),
]
PixelThreshold = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Map value from which a pixel is anomalous.", show_default="the model's"),
]
MinArea = Annotated[
    int | None,
    typer.Option(min=1, help="Regions of fewer pixels of the image are left out.", show_default="the model's"),
]
Crops = Annotated[
    Path | None, typer.Option(help="Folder for the part of the image around each region.", show_default="none")
]
Caption = Annotated[bool, typer.Option("--caption", help="Write score and decision below each overlay.")]
Report = Annotated[
    Path | None, typer.Option(help="File of HTML to look through all results in a browser.", show_default="none")
]
Form = Annotated[
    RowFormat | None,
    typer.Option(
        "--format",
        help="Form of the rows: table, json or csv on stdout; jsonl or parquet in files of --output.",
        show_default="table; jsonl of several processes and with --resume",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the files of rows in --output, if there are any.")]
Recursive = Annotated[bool, typer.Option("--recursive", help="Walk the folders in a folder too.")]
Stdin = Annotated[bool, typer.Option("--stdin", help="Read paths from standard input too, one a line.")]
