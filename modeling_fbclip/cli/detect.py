"""`fbclip detect`: images in; a score, an overlay and a map of each out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import Dtype
from modeling_fbclip.cli.reports import open_report
from modeling_fbclip.detection.detector import Detector, Seen, detect_all
from modeling_fbclip.detection.image_finder import ImageFinder
from modeling_fbclip.detection.loading import load_pipeline
from modeling_fbclip.detection.processes import join_processes
from modeling_fbclip.detection.result_files import MAP_SUFFIX, OVERLAY_SUFFIX, ResultFolder
from modeling_fbclip.detection.row_files import Done, RowFolder
from modeling_fbclip.detection.rows import Row
from modeling_fbclip.detection.sources import Item, Source, open_data, open_images

# The forms of the rows: three on stdout, two in files of --output.
RowFormat = Literal["table", "json", "csv", "jsonl", "parquet"]
FILES = ("jsonl", "parquet")


def detect(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Images, folders of images, or globs.", show_default=False),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder or Hub id of a data set, in place of PATH.", show_default="none")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "test",
    layout: Annotated[
        str | None, typer.Option(help="Layout to read the data set by.", show_default="the one recognised")
    ] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Read the data set as it comes, without downloading it first.")
    ] = False,
    category: Annotated[
        list[str] | None,
        typer.Option(
            help="The images' category, whose thresholds decide. Of a data set: one to use; may be repeated.",
            show_default="none; all of a data set",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder or Hub id of a model.", show_default="the bundled one")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for overlays, maps and files of rows.")] = Path("outputs"),
    overlays: Annotated[bool, typer.Option(help="Whether overlays are written.")] = True,
    maps: Annotated[bool, typer.Option(help="Whether maps are written.")] = True,
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
    dtype: Dtype = "float32",
    form: Annotated[
        RowFormat | None,
        typer.Option(
            "--format",
            help="Form of the rows: table, json or csv on stdout; jsonl or parquet in files of --output.",
            show_default="table; jsonl of several processes and with --resume",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the files of rows in --output, if there are any.")
    ] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="Walk the folders in a folder too.")] = False,
) -> None:
    """
    Score images and mark what is anomalous in them.

    For each image, an overlay (blue is 0, red is 1, a white line around the anomalous pixels) and the map
    itself as a 16-bit PNG are written. The exit status is 1 if an image could not be read.

    Kill it at any time: the same command with --resume goes on. Several devices: accelerate launch -m
    modeling_fbclip.cli detect … writes one file of rows a process; together they are those of a single one.

    \b
    Example:
      fbclip detect photo.jpg parts/ 'scans/*.png' --output heatmaps
      fbclip detect --data user/parts --streaming --no-maps --resume
    """
    processes = join_processes()
    form = _choose_format(form, resume or processes.size > 1)
    if data is None:
        finder = ImageFinder(recursive, output, (OVERLAY_SUFFIX, MAP_SUFFIX))
        source = _open_paths(paths, finder, category, layout, streaming, batch_size)
    elif paths:
        raise typer.BadParameter("name images or a data set, not both", param_hint="--data")
    else:
        source = open_data(data, split, category, layout, streaming, batch_size)
    pipeline = load_pipeline(model, device or processes.device, dtype)
    given = {"threshold": threshold, "pixel_threshold": pixel_threshold}
    thresholds = {name: value for name, value in given.items() if value is not None}
    if data is None and category:
        with blamed_on("--category"):
            thresholds = pipeline.processor.thresholds_of(category[0]) | thresholds
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{output}: {error.strerror}", param_hint="--output") from error

    detector = Detector(pipeline, thresholds, ResultFolder(source.folder, output), overlays, maps)
    with blamed_on("--output"):
        if form in FILES:
            folder = RowFolder(output, processes)
            if processes.rank == 0:
                images = {"data": data, "split": split if data else None, "category": category, "layout": layout}
                folder.prepare(_settings(detector, batch_size) | images, resume)
            processes.wait()
            seen = detect_all(source, detector, processes, folder.done(), folder.writer())
            processes.wait()
            if form == "parquet":
                folder.to_parquet()
        else:
            seen = detect_all(source, detector, processes, Done([]), _on_stdout(form))
        seen = Seen(*map(processes.add_up, seen))
    if processes.rank == 0:
        written = ["rows"] * (form in FILES) + ["overlays"] * overlays + ["maps"] * maps
        typer.echo(_summary(seen, detector, written, output), err=True)
    if seen.labels["error"]:
        raise typer.Exit(1)


def _choose_format(form: RowFormat | None, to_files: bool) -> RowFormat:
    if form is None:
        return "jsonl" if to_files else "table"
    if to_files and form not in FILES:
        raise typer.BadParameter(
            f"{form} is for stdout; several processes, and --resume, write jsonl or parquet to --output",
            param_hint="--format",
        )
    if form == "parquet" and find_spec("pyarrow") is None:
        raise typer.BadParameter(
            "parquet needs the library pyarrow: pip install 'modeling-fbclip[train]'", param_hint="--format"
        )
    return form


def _open_paths(
    paths: list[str] | None,
    finder: ImageFinder,
    category: list[str] | None,
    layout: str | None,
    streaming: bool,
    batch_size: int,
) -> Source:
    if not paths:
        raise typer.BadParameter("name images, or a data set by --data", param_hint="PATH")
    for option, given in (("--streaming", streaming), ("--layout", layout)):
        if given:
            raise typer.BadParameter("is for a data set, by --data", param_hint=option)
    if category is not None and len(category) > 1:
        raise typer.BadParameter("images named by PATH are of one category", param_hint="--category")
    return open_images(paths, finder, category[0] if category else None, batch_size)


def _settings(detector: Detector, batch_size: int) -> dict[str, Any]:
    """All that a row depends on, so that no file holds rows of two kinds."""
    from modeling_fbclip.common.digests import preprocessing_of, weights_digest

    network, processor = detector.pipeline.model, detector.pipeline.processor
    own = {
        name: getattr(processor, name)
        for name in ("image_size", "smoothing_sigma", "threshold", "score", "pixel_threshold", "category_thresholds")
    }
    pictures = {"overlays": detector.overlays, "maps": detector.maps}
    numbers = {"weights": weights_digest(network), "dtype": str(network.dtype), "batch_size": batch_size}
    return numbers | preprocessing_of(processor) | own | detector.thresholds | pictures


@contextmanager
def _on_stdout(form: RowFormat) -> Iterator[Callable[[Item, Row], None]]:
    with open_report(form) as write:
        yield lambda _, row: write(row)


def _summary(seen: Seen, detector: Detector, written: list[str], output: Path) -> str:
    total, processor = seen.labels.total(), detector.pipeline.processor
    counts = [f"{total} image{'s' * (total != 1)}", f"{seen.labels['anomalous']} anomalous"]
    if seen.labels["error"]:
        counts.append(f"{seen.labels['error']} failed")
    limit = f"score from {detector.thresholds.get('threshold', processor.threshold):.3f} on"
    known = set(processor.category_thresholds or {})
    if "threshold" not in detector.thresholds and known.intersection(seen.categories):
        strangers = sorted(set(seen.categories) - known)
        limit = "score from the category's threshold on"
        if strangers:
            limit += f", that of all images for {', '.join(strangers)}"
    where = (
        f"; {', '.join(written[:-1])}{' and ' * (len(written) > 1)}{written[-1]} are in {output}" if written else ""
    )
    return f"{', '.join(counts)} ({limit}){where}"
