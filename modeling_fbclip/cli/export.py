"""`fbclip export`: a model in; a folder that computes without PyTorch out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.tables import print_json, print_table

if TYPE_CHECKING:
    from modeling_fbclip.export import Parity


def export(
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder to write.")],
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Folder or Hub id.", show_default="the bundled one")
    ] = None,
    to: Annotated[Literal["onnx", "openvino"], typer.Option(help="The runtime that computes it.")] = "onnx",
    precision: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="Number type that the weights are stored in.")
    ] = "float32",
    prompts: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="NORMAL ANOMALOUS",
            help="What a faultless and what a faulty image shows. The export holds it.",
            show_default="the model's",
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            help="Images to compare the export with the model on: a file, folder or glob; may be repeated.",
            show_default="the sample photographs",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Keep an export out of its bounds; write into a folder that is not empty."),
    ] = False,
    form: Annotated[Literal["table", "json"], typer.Option("--format", help="Form of the comparison.")] = "table",
) -> None:
    """
    Export a model for ONNX Runtime or OpenVINO.

    The export is compared with the model at once, on images. If scores and maps differ by more than 0.0001
    in float32 or 0.01 in float16, or int8 changes a decision, it is not kept.

    A model that remembers good images is exported with them, and its export compares with them, too.

    The folder stands alone: its inference.py needs NumPy, Pillow and the runtime only. Every command takes it
    as --model, too.

    \b
    Example:
      fbclip export --output exported
      fbclip export my-model --to openvino --precision int8 --output exported
      fbclip detect parts/ --model exported
    """
    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.detection.references import named_images

    with blamed_on(None):
        from modeling_fbclip.export import OutOfBoundsError
        from modeling_fbclip.export import export as write_export
    chosen = None
    if images is not None:
        with blamed_on("--images"):
            chosen, _ = named_images(images, output)
    detector = load_detector(model, "cpu")
    try:
        parity = write_export(detector.model, detector.processor, output, to, precision, prompts, chosen, force)
    except OutOfBoundsError as error:
        _print(error.parity, form)
        raise
    _print(parity, form)
    typer.echo(f"{to} in {precision}, in {output}: python {output / 'inference.py'} photo.jpg", err=True)


def _print(parity: "Parity", form: str) -> None:
    from modeling_fbclip.export.card import parity_rows

    if form == "json":
        print_json(parity.to_dict())
    else:
        print_table((f"{parity.images} images", "value"), parity_rows(parity), ("value",))
