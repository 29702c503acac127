"""`fbclip calibrate`: a model and a user's images in; the model with thresholds that fit them out."""

import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import (
    BatchSize,
    Category,
    ChosenSplit,
    Columns,
    Device,
    Dtype,
    Force,
    KeepAspect,
    Layout,
    MaxMegapixels,
    Model,
    Overlap,
    Score,
    TileSize,
    WhiteLevel,
    parse_columns,
    processor_settings,
    require_free,
    tell_leftovers,
    view_settings,
)
from modeling_fbclip.cli.runtimes import Runtime, device_for, require_fitting, take_runtime
from modeling_fbclip.cli.stdout import printing, take_each

if TYPE_CHECKING:
    from modeling_fbclip.evaluation import Calibration


def calibrate(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Folder of good images, or a labelled data set.", show_default=False),
    ],
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder to save the calibrated model to.")],
    model: Model = None,
    target_fpr: Annotated[
        float | None,
        typer.Option(help="Share of good images that may be called anomalous, with 'conformal'.", show_default="0.01"),
    ] = None,
    criterion: Annotated[
        Literal["conformal", "f1_max", "youden"],
        typer.Option(help="'conformal' needs good images only, the others labels: best F1, best Youden's J."),
    ] = "conformal",
    per_category: Annotated[
        bool, typer.Option("--per-category", help="Thresholds for each category too, beside those for all.")
    ] = False,
    split: ChosenSplit = None,
    layout: Layout = None,
    columns: Columns = None,
    category: Category = None,
    batch_size: BatchSize = 4,
    device: Device = None,
    dtype: Dtype = "float32",
    runtime: Runtime = "torch",
    white_level: WhiteLevel = None,
    score: Score = None,
    max_megapixels: MaxMegapixels = None,
    tile: TileSize = None,
    overlap: Overlap = None,
    keep_aspect: KeepAspect = None,
    force: Force = False,
) -> None:
    """
    Set the thresholds from which images and pixels are called anomalous.

    With 'conformal', a new good image is called anomalous, or shows an anomalous pixel, with a probability of
    --target-fpr at most. This needs 99 good images for 0.01, 19 for 0.05. Of a labelled data set, only the good
    images are used, those for training if there are any. If --output is the model's own folder, only its
    processor is replaced. Otherwise the model and the records of its training are copied.

    \b
    Example:
      fbclip calibrate good_parts/ --target-fpr 0.02 --output calibrated
    """
    in_place = model is not None and Path(model).is_dir() and output.resolve() == Path(model).resolve()
    require_free(output, force or in_place)
    require_fitting(runtime, device, dtype)
    if target_fpr is not None and criterion != "conformal":
        raise typer.BadParameter(f"has no effect with --criterion {criterion}", param_hint="--target-fpr")
    with blamed_on("DATA"):
        from modeling_fbclip.data import load_fitting_split

        named = parse_columns(columns)
        chosen = load_fitting_split(data, (0,) if criterion == "conformal" else (0, 1), split, layout, category, named)
        if chosen.layout == "good-only" and (per_category or criterion != "conformal"):
            raise ValueError(f"{data} holds images without labels, which only --criterion conformal takes")

    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.detection.white_level import images_of
    from modeling_fbclip.evaluation import calibrate_dataset, save_calibrated

    own = processor_settings(images_of(chosen.dataset), white_level, max_megapixels, score) | view_settings(
        tile, overlap, keep_aspect
    )
    detector = load_detector(model, device_for(runtime, device), dtype, own)
    computing = copy.copy(detector)
    take_runtime(computing, runtime)
    rate = 0.01 if target_fpr is None else target_fpr
    digests: set[str] = set()
    with progress_bar(None, "calibrate") as progress:
        found = calibrate_dataset(
            computing.model,
            detector.processor,
            chosen.dataset,
            criterion,
            rate,
            per_category,
            batch_size,
            on_image=partial(progress.update, 1),
            digests=digests,
            references=detector.references,
        )
    about: dict[str, Any] = {"hub_id": chosen.hub_id, "split": chosen.split, "criterion": criterion}
    if criterion == "conformal":
        about["target_fpr"] = rate

    def save() -> None:
        with blamed_on("--output"):
            save_calibrated(detector, digests, output, about, in_place)

    take_each(partial(_print, found), save)
    if chosen.layout != "good-only":
        typer.echo(f"the thresholds come from the split {chosen.split!r} of {data}", err=True)
    tell_leftovers(data, chosen.layout, named)
    typer.echo(f"saved to {output}; try it: fbclip detect --model {output} photo.jpg", err=True)


def _print(found: "dict[str, Calibration]") -> None:
    with printing():
        for name, (threshold, pixel_threshold, count) in found.items():
            print(f"{name}: threshold {threshold:.4f}, pixel threshold {pixel_threshold:.4f}, from {count} images")
