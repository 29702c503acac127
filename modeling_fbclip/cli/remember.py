"""`fbclip remember`: a model and good images in; a model that compares with them out."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import (
    Device,
    Force,
    KeepAspect,
    MaxMegapixels,
    Model,
    Overlap,
    TileSize,
    WhiteLevel,
    processor_settings,
    require_free,
    view_settings,
)


def remember(
    images: Annotated[
        list[str], typer.Argument(metavar="GOOD", help="Good images, folders of them, or globs.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder to save the model to.")],
    model: Model = None,
    add: Annotated[bool, typer.Option("--add", help="Add the images to those that --output remembers.")] = False,
    device: Device = None,
    white_level: WhiteLevel = None,
    max_megapixels: MaxMegapixels = None,
    tile: TileSize = None,
    overlap: Overlap = None,
    keep_aspect: KeepAspect = None,
    force: Force = False,
) -> None:
    """
    Make a model compare images with good ones of your product.

    A few are enough, and nothing is trained. The folder has the model, what it needs of the images, and
    thresholds that follow from them; every other command takes it as --model. The images themselves are not in
    it. fbclip calibrate sets finer thresholds from further good images.

    \b
    Example:
      fbclip remember good/ --output my-inspector
      fbclip remember more/ --output my-inspector --add
      fbclip detect parts/ --model my-inspector
    """
    if add and model is not None:
        raise typer.BadParameter("--add takes the model of --output", param_hint="--model")
    require_free(output, force or add)

    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.detection.references import named_images
    from modeling_fbclip.detection.remembering import remember_images

    with blamed_on("GOOD"):
        paths, names = named_images(images, output)
    own = processor_settings((partial(str, path) for path in paths), white_level, max_megapixels) | view_settings(
        tile, overlap, keep_aspect
    )
    detector = load_detector(str(output) if add else model, device, own=own)
    if add and detector.references is None:
        raise typer.BadParameter(f"{output} remembers no images; leave --add out", param_hint="--add")
    with progress_bar(len(paths), "remember") as progress, blamed_on("GOOD"):
        references = remember_images(detector, paths, names, add, output, partial(progress.update, 1))
    knows = f"{output} remembers {len(references)} good image{'s' * (len(references) != 1)}"
    typer.echo(f"{knows}; try it: fbclip detect parts/ --model {output}", err=True)
