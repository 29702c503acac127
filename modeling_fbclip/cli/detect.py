"""`fbclip detect`: images in; a score, an overlay and a map of each out."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modeling_fbclip.cli.inputs import ImageFinder, common_folder
from modeling_fbclip.cli.messages import one_line
from modeling_fbclip.cli.models import WeightType, load_pipeline
from modeling_fbclip.cli.progress import progress_bar
from modeling_fbclip.cli.reports import Format, Row, open_report
from modeling_fbclip.cli.results import MAP_SUFFIX, OVERLAY_SUFFIX, ResultFolder

if TYPE_CHECKING:
    from PIL import Image

    from modeling_fbclip.pipeline_fbclip import ZeroShotAnomalyDetectionPipeline


def detect(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Images, folders of images, or globs.", show_default=False)
    ],
    model: Annotated[
        str | None, typer.Option(help="Folder or Hub id of a model.", show_default="the bundled one")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for overlays and maps.")] = Path("outputs"),
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which an image is anomalous.", show_default="the model's"),
    ] = None,
    pixel_threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Probability from which a pixel is.", show_default="the model's"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images that go through the model at once.")] = 4,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, mps …", show_default="an accelerator if there is one"),
    ] = None,
    dtype: Annotated[WeightType, typer.Option(help="Number type of the weights.")] = WeightType.FLOAT32,
    form: Annotated[Format, typer.Option("--format", help="Form of the rows on stdout.")] = Format.TABLE,
    recursive: Annotated[bool, typer.Option("--recursive", help="Walk the folders in a folder too.")] = False,
) -> None:
    """
    Score images and mark what is anomalous in them.

    For each image, an overlay (blue is 0, red is 1, a white line around the anomalous pixels) and the map
    itself as a 16-bit PNG are written. The exit status is 1 if an image could not be read.

    \b
    Example:
      fbclip detect photo.jpg parts/ 'scans/*.png' --output heatmaps
    """
    finder = ImageFinder(recursive, output, (OVERLAY_SUFFIX, MAP_SUFFIX))
    try:
        finder.require(paths)
        results = ResultFolder(common_folder(paths), output)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(one_line(error), param_hint="PATH") from error
    pipeline = load_pipeline(model, device, dtype)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{output}: {error.strerror}", param_hint="--output") from error

    thresholds = {"threshold": threshold, "pixel_threshold": pixel_threshold}
    given = {name: value for name, value in thresholds.items() if value is not None}
    images = chain.from_iterable(map(finder.find, paths))
    rows = _detect_all(images, pipeline, results, batch_size, given)
    total = sum(1 for path in paths for _ in finder.find(path)) if sys.stderr.isatty() else None
    counts: Counter[str] = Counter()
    with progress_bar() as progress, open_report(form) as write:
        for row in progress.track(rows, total=total, description="detect"):
            write(row)
            counts[row.label or "error"] += 1
    limit = pipeline.processor.threshold if threshold is None else threshold
    typer.echo(f"{_summary(counts)} (score from {limit:.3f} on); overlays and maps are in {output}", err=True)
    if counts["error"]:
        raise typer.Exit(1)


def _detect_all(
    images: Iterable[Path],
    pipeline: "ZeroShotAnomalyDetectionPipeline",
    results: ResultFolder,
    batch_size: int,
    thresholds: dict[str, float],
) -> Iterator[Row]:
    """One row an image, in order; no more than one batch is held at a time."""
    remaining = iter(images)
    while paths := list(islice(remaining, batch_size)):
        pictures, errors = _read(paths)
        found = _run(pipeline, pictures, errors, thresholds)
        for path in paths:
            if path in errors:
                yield Row(str(path), error=errors[path])
            else:
                yield _save(path, pictures[path], found[path], results)


def _read(paths: list[Path]) -> "tuple[dict[Path, Image.Image], dict[Path, str]]":
    """The images, and what is wrong with those that are none."""
    from modeling_fbclip.images_fbclip import load_rgb_image

    pictures, errors = {}, {}
    for path in paths:
        try:
            pictures[path] = load_rgb_image(path)
        except (OSError, ValueError) as error:
            errors[path] = one_line(error).removeprefix(f"{path}: ")
    return pictures, errors


def _run(
    pipeline: "ZeroShotAnomalyDetectionPipeline",
    pictures: "dict[Path, Image.Image]",
    errors: dict[Path, str],
    thresholds: dict[str, float],
) -> dict[Path, dict[str, Any]]:
    """The pipeline's results; `errors` gets the images that it refuses."""
    import torch

    found = {}
    try:
        results = pipeline(list(pictures.values()), batch_size=len(pictures), **thresholds) if pictures else []
        return dict(zip(pictures, results, strict=True))
    except torch.OutOfMemoryError as error:
        raise typer.BadParameter(
            f"{len(pictures)} images at once need more memory than {pipeline.device} has",
            param_hint="--batch-size",
        ) from error
    except RuntimeError as error:  # such as a number type that the device cannot compute with
        raise typer.BadParameter(
            f"{pipeline.model.dtype} on {pipeline.device}: {one_line(error)}", param_hint="--dtype"
        ) from error
    except ValueError:  # of one of them: singly, the others still get their results
        for path, picture in pictures.items():
            try:
                found[path] = pipeline(picture, **thresholds)
            except ValueError as error:
                errors[path] = one_line(error)
        return found


def _save(path: Path, image: "Image.Image", found: dict[str, Any], results: ResultFolder) -> Row:
    from modeling_fbclip.rendering import map_to_png16, render_overlay

    try:
        overlay = render_overlay(image, found["anomaly_map"], found["mask"])
        overlay_path = results.save(path, OVERLAY_SUFFIX, overlay)
        map_path = results.save(path, MAP_SUFFIX, map_to_png16(found["anomaly_map"]))
    except (OSError, ValueError) as error:
        return Row(str(path), error=one_line(error))
    return Row(str(path), found["score"], found["label"], None, str(overlay_path), str(map_path))


def _summary(counts: Counter[str]) -> str:
    total = counts.total()
    parts = [f"{total} image{'s' * (total != 1)}", f"{counts['anomalous']} anomalous"]
    if counts["error"]:
        parts.append(f"{counts['error']} failed")
    return ", ".join(parts)
