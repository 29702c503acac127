"""`fbclip calibrate`: a model and a user's images in; the model with thresholds that fit them out."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from modeling_fbclip.cli.evaluate import one_line_errors
from modeling_fbclip.cli.loading import holds_good_images_only, load_data
from modeling_fbclip.cli.progress import progress_bar
from modeling_fbclip.common.files import written_aside
from modeling_fbclip.detection.loading import WeightType, load_pipeline


class Criterion(StrEnum):
    """What thresholds are to fulfil."""

    CONFORMAL = "conformal"
    F1_MAX = "f1_max"
    YOUDEN = "youden"


def calibrate(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Folder of good images, or a labelled data set.", show_default=False),
    ],
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder to save the calibrated model to.")],
    model: Annotated[
        str | None, typer.Option(help="Folder or Hub id of a model.", show_default="the bundled one")
    ] = None,
    target_fpr: Annotated[
        float, typer.Option(help="Share of good images that may be called anomalous, with 'conformal'.")
    ] = 0.01,
    criterion: Annotated[
        Criterion,
        typer.Option(help="'conformal' needs good images only, the others labels: best F1, best Youden's J."),
    ] = Criterion.CONFORMAL,
    per_category: Annotated[
        bool, typer.Option("--per-category", help="Thresholds for each category too, beside those for all.")
    ] = False,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "test",
    layout: Annotated[
        str | None, typer.Option(help="Layout to read DATA by.", show_default="the one recognised")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="A category to use; may be repeated.", show_default="all")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images that go through the model at once.")] = 4,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, mps …", show_default="an accelerator if there is one")
    ] = None,
    dtype: Annotated[WeightType, typer.Option(help="Number type of the weights.")] = WeightType.FLOAT32,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
) -> None:
    """
    Set the thresholds from which images and pixels are called anomalous.

    With 'conformal', a new good image is called anomalous, or shows an anomalous pixel, with a probability of
    --target-fpr at most. That takes 99 good images for 0.01, 19 for 0.05. Of a labelled data set, it uses the
    good ones only. If --output is the model's own folder, its processor alone is replaced; else the records
    of its training go with it.

    \b
    Example:
      fbclip calibrate good_parts/ --target-fpr 0.02 --output calibrated
    """
    in_place = model is not None and Path(model).is_dir() and output.resolve() == Path(model).resolve()
    if output.is_dir() and any(output.iterdir()) and not (force or in_place):
        raise typer.BadParameter(f"{output} is not empty; choose another folder, or --force", param_hint="--output")
    if layout is None and holds_good_images_only(data):
        layout = "good-only"
        if per_category or criterion is not Criterion.CONFORMAL:
            raise typer.BadParameter(
                f"{data} holds images without labels, which only --criterion conformal takes", param_hint="DATA"
            )
    dataset = load_data(data, split, category, layout)
    pipeline = load_pipeline(model, device, dtype)
    with one_line_errors(batch_size):
        from modeling_fbclip.evaluation import calibrate_dataset
        from modeling_fbclip.evaluation.overlap import copy_records

        network: Any = pipeline.model  # the base class's type is wider
        processor = pipeline.processor
        with progress_bar() as progress:
            task = progress.add_task("calibrate", total=None)
            tell = partial(progress.advance, task)
            found = calibrate_dataset(
                network, processor, dataset, criterion.value, target_fpr, per_category, batch_size, tell
            )
        with written_aside(output) as aside:
            if not in_place:
                network.save_pretrained(aside)
                copy_records(network.name_or_path, aside)
            processor.save_pretrained(aside)
    for name, (threshold, pixel_threshold, count) in found.items():
        print(f"{name}: threshold {threshold:.4f}, pixel threshold {pixel_threshold:.4f}, from {count} images")
    typer.echo(f"saved to {output}; try it: fbclip detect --model {output} photo.jpg", err=True)
