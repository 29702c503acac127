"""`fbclip calibrate`: a model and a user's images in; the model with thresholds that fit them out."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import (
    BatchSize,
    Category,
    Columns,
    Device,
    Dtype,
    Force,
    Layout,
    Model,
    Split,
    WhiteLevel,
    parse_columns,
    require_empty,
    tell_leftovers,
)


def calibrate(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Folder of good images, or a labelled data set.", show_default=False),
    ],
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder to save the calibrated model to.")],
    model: Model = None,
    target_fpr: Annotated[
        float, typer.Option(help="Share of good images that may be called anomalous, with 'conformal'.")
    ] = 0.01,
    criterion: Annotated[
        Literal["conformal", "f1_max", "youden"],
        typer.Option(help="'conformal' needs good images only, the others labels: best F1, best Youden's J."),
    ] = "conformal",
    per_category: Annotated[
        bool, typer.Option("--per-category", help="Thresholds for each category too, beside those for all.")
    ] = False,
    split: Split = "test",
    layout: Layout = None,
    columns: Columns = None,
    category: Category = None,
    batch_size: BatchSize = 4,
    device: Device = None,
    dtype: Dtype = "float32",
    white_level: WhiteLevel = None,
    force: Force = False,
) -> None:
    """
    Set the thresholds from which images and pixels are called anomalous.

    With 'conformal', a new good image is called anomalous, or shows an anomalous pixel, with a probability of
    --target-fpr at most. This needs 99 good images for 0.01, 19 for 0.05. Of a labelled data set, only the good
    images are used. If --output is the model's own folder, only its processor is replaced. Otherwise the model
    and the records of its training are copied.

    \b
    Example:
      fbclip calibrate good_parts/ --target-fpr 0.02 --output calibrated
    """
    in_place = model is not None and Path(model).is_dir() and output.resolve() == Path(model).resolve()
    require_empty(output, force or in_place)
    with blamed_on("DATA"):
        from modeling_fbclip.data import holds_good_images_only, load_anomaly_dataset

        named = parse_columns(columns)
        if layout is None and not named and holds_good_images_only(data):
            layout = "good-only"
            if per_category or criterion != "conformal":
                raise ValueError(f"{data} holds images without labels, which only --criterion conformal takes")
        dataset: Any = load_anomaly_dataset(data, split=split, layout=layout, category=category, columns=named)

    from modeling_fbclip.common.files import written_aside
    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.common.provenance import copy_records
    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.evaluation import calibrate_dataset

    detector = load_detector(model, device, dtype, white_level)
    network, processor = detector.model, detector.processor
    with progress_bar(None, "calibrate") as progress:
        tell = partial(progress.update, 1)
        found = calibrate_dataset(network, processor, dataset, criterion, target_fpr, per_category, batch_size, tell)
    with written_aside(output) as aside:
        if not in_place:
            network.save_pretrained(aside)
            copy_records(network, aside)
        processor.save_pretrained(aside)
    for name, (threshold, pixel_threshold, count) in found.items():
        print(f"{name}: threshold {threshold:.4f}, pixel threshold {pixel_threshold:.4f}, from {count} images")
    tell_leftovers(data, layout, named)
    typer.echo(f"saved to {output}; try it: fbclip detect --model {output} photo.jpg", err=True)
