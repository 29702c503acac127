"""`fbclip detect`: images in; a score, an overlay and a map of each out."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_fbclip.cli.detect_report import reporting
from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import (
    BatchSize,
    Columns,
    Device,
    Dtype,
    KeepAspect,
    MaxMegapixels,
    Model,
    Overlap,
    Score,
    Streaming,
    TileSize,
    WhiteLevel,
    parse_columns,
    processor_settings,
    view_settings,
)
from modeling_fbclip.cli.row_forms import FILES, RowFormat, choose_format, writing
from modeling_fbclip.common.files import require_file, require_writable

if TYPE_CHECKING:
    from modeling_fbclip.common.listing import LeftOut
    from modeling_fbclip.detection.processes import Processes
    from modeling_fbclip.detection.results import Results
    from modeling_fbclip.detection.run import Seen
    from modeling_fbclip.detection.sources import Batch, Source


def detect(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH", help="Images, folders of images, or globs. scan.tif#3: page 3, from 0.", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder or Hub id of a data set, in place of PATH.", show_default="none")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set.", show_default="test")] = None,
    layout: Annotated[
        str | None, typer.Option(help="Layout to read the data set by.", show_default="the one recognised")
    ] = None,
    columns: Columns = None,
    streaming: Streaming = False,
    category: Annotated[
        list[str] | None,
        typer.Option(
            help="The images' category, whose thresholds decide. Of a data set: one to use; may be repeated.",
            show_default="none; all of a data set",
        ),
    ] = None,
    model: Model = None,
    output: Annotated[Path, typer.Option(help="Folder for overlays, maps and files of rows.")] = Path("outputs"),
    references: Annotated[
        list[str] | None,
        typer.Option(
            help="Good images of the product to compare with: a file, folder or glob; may be repeated.",
            show_default="the model's, if it has some",
        ),
    ] = None,
    mutual: Annotated[
        bool, typer.Option("--mutual", help="Compare the images with one another; a third may be anomalous.")
    ] = False,
    mutual_sample: Annotated[int, typer.Option(min=8, help="Images that each is compared with, by --mutual.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the choice of these images.")] = 0,
    overlays: Annotated[bool, typer.Option(help="Whether overlays are written.")] = True,
    maps: Annotated[bool, typer.Option(help="Whether maps are written.")] = True,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which an image is anomalous.", show_default="the model's"),
    ] = None,
    pixel_threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Map value from which a pixel is anomalous.", show_default="the model's"),
    ] = None,
    min_area: Annotated[
        int | None,
        typer.Option(min=1, help="Regions of fewer pixels of the image are left out.", show_default="the model's"),
    ] = None,
    crops: Annotated[
        Path | None, typer.Option(help="Folder for the part of the image around each region.", show_default="none")
    ] = None,
    caption: Annotated[bool, typer.Option("--caption", help="Write score and decision below each overlay.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="File of HTML to look through all results in a browser.", show_default="none")
    ] = None,
    batch_size: BatchSize = 4,
    device: Device = None,
    dtype: Dtype = "float32",
    white_level: WhiteLevel = None,
    score: Score = None,
    max_megapixels: MaxMegapixels = None,
    tile: TileSize = None,
    overlap: Overlap = None,
    keep_aspect: KeepAspect = None,
    form: Annotated[
        RowFormat | None,
        typer.Option(
            "--format",
            help="Form of the rows: table, json or csv on stdout; jsonl or parquet in files of --output.",
            show_default="table; jsonl of several processes and with --resume",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the files of rows in --output, if there are any.")
    ] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="Walk the folders in a folder too.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read paths from standard input too, one a line.")] = False,
) -> None:
    """
    Score images and mark what is anomalous in them.

    For each image, an overlay (clear is 0, then blue to red, which is 1; a line around each region) and the
    map itself as a 16-bit PNG are written. The exit status is 1 if an image could not be read, or a picture not
    be saved; its row then has the score and the error.

    Kill it at any time: the same command with --resume continues. Several devices: accelerate launch -m
    modeling_fbclip.cli detect … writes one file of rows a process. Together they hold the rows of a single
    process.

    \b
    Example:
      fbclip detect photo.jpg parts/ 'scans/*.png' --output heatmaps
      fbclip detect --data user/parts --streaming --no-maps --resume
      find . -name '*.png' -size +1k | fbclip detect --stdin
      fbclip detect parts/ --references good/
      fbclip detect parts/ --mutual
    """
    from modeling_fbclip.common.listing import describe
    from modeling_fbclip.detection.processes import ALONE, join_processes

    processes = join_processes()
    earlier: LeftOut = Counter()  # results
    if stdin:
        if processes.size > 1:  # each would get some of the lines
            raise typer.BadParameter("is for a single process; name folders or globs", param_hint="--stdin")
        paths = [*(paths or []), *_read_paths(sys.stdin, earlier)]
        if not paths:
            raise typer.BadParameter("standard input names no image", param_hint="--stdin")
    if mutual and references:
        raise typer.BadParameter("compare with --references or by --mutual, not both", param_hint="--mutual")
    form = choose_format(form, resume or processes.size > 1)
    of_data = {"--split": split, "--layout": layout, "--columns": columns, "--streaming": streaming}
    _require_one_kind(paths, data, category, of_data, recursive)
    with blamed_on("--output"):
        require_writable(output)
    if crops is not None:
        with blamed_on("--crops"):
            require_writable(crops)
    if report is not None:
        with blamed_on("--report"):
            require_file(report)
    if caption and not overlays:
        raise typer.BadParameter("is for overlays, which --no-overlays leaves out", param_hint="--caption")

    from modeling_fbclip.common.own_results import mark_results
    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.detection.references import make_mutual_references, make_references
    from modeling_fbclip.detection.results import Results
    from modeling_fbclip.detection.run import Seen, detect_all
    from modeling_fbclip.detection.sources import open_data

    if data is None:
        source = _open_paths(paths or [], recursive, output, category, batch_size)
    else:
        with blamed_on("--data"):
            source = open_data(data, split or "test", category, layout, streaming, batch_size, parse_columns(columns))
    source = source._replace(batches=_blaming("PATH" if data is None else "--data", source.batches))
    images = (item.source for batch in source.batches(ALONE) for item in batch)
    own = processor_settings(images, white_level, max_megapixels, score, processes.is_main)
    own |= view_settings(tile, overlap, keep_aspect) | ({} if min_area is None else {"min_area": min_area})
    detector = load_detector(model, device or processes.device, dtype, own)
    if references or mutual:
        with progress_bar(None, "references", visible=processes.is_main) as progress:
            tell_one = partial(progress.update, 1)
            if references:
                with blamed_on("--references"):
                    detector.references = make_references(detector, references, output, tell_one)
            else:
                with blamed_on("--mutual"):
                    detector.references = make_mutual_references(detector, source, mutual_sample, seed, tell_one)
    given = {"threshold": threshold, "pixel_threshold": pixel_threshold}
    detector.thresholds = {name: value for name, value in given.items() if value is not None}
    if data is None and category:
        with blamed_on("--category"):
            detector.thresholds = detector.processor.thresholds_of(category[0]) | detector.thresholds
    results = Results(detector, source.folder, output, overlays, maps, caption, crops)
    with blamed_on("--output"):
        output.mkdir(parents=True, exist_ok=True)
        if overlays or maps or form in FILES:
            mark_results(output)
        if crops is not None:
            with blamed_on("--crops"):
                crops.mkdir(parents=True, exist_ok=True)
                mark_results(crops)
        where = {"data": data, "split": (split or "test") if data else None, "category": category, "layout": layout}
        settings = {"batch_size": batch_size, "report": report is not None} | where
        with (
            writing(form, results, processes, settings, resume) as (done, write),
            reporting(report, model, form, results, processes) as collected,
            _bar(source, processes) as tell,
        ):
            seen = detect_all(source, collected, processes, done, write, *tell)
        seen = Seen(*map(processes.add_up, seen))
    if processes.is_main:
        typer.echo(_summary(seen, results, form) + source.left_out() + describe(earlier), err=True)
    if seen.outcomes["error"]:
        raise typer.Exit(1)


def _read_paths(lines: Iterable[str], left_out: "LeftOut") -> list[str]:
    """The path in each line that is not empty. Earlier results are left out: nobody has named them one by one."""
    from modeling_fbclip.common.listing import RESULT
    from modeling_fbclip.common.own_results import is_marked, is_result

    named = [line.rstrip("\r\n") for line in lines if line.strip()]
    wanted = [name for name in named if not is_result(Path(name).name, is_marked(Path(name).parent))]
    left_out[RESULT] += len(named) - len(wanted)
    return wanted


def _require_one_kind(
    paths: list[str] | None,
    data: str | None,
    category: list[str] | None,
    of_data: Mapping[str, object],
    recursive: bool,
) -> None:
    """Raises typer.BadParameter unless there are either images or a data set, with fitting options."""
    if data is not None:
        if paths:
            raise typer.BadParameter("name images or a data set, not both", param_hint="--data")
        if recursive:
            raise typer.BadParameter("is for folders named by PATH", param_hint="--recursive")
        return
    if not paths:
        raise typer.BadParameter("name images, or a data set by --data", param_hint="PATH")
    for option, given in of_data.items():
        if given:
            raise typer.BadParameter("is for a data set, by --data", param_hint=option)
    if category is not None and len(category) > 1:
        raise typer.BadParameter("images named by PATH are of one category", param_hint="--category")


def _open_paths(
    paths: list[str], recursive: bool, output: Path, category: list[str] | None, batch_size: int
) -> "Source":
    from modeling_fbclip.detection.image_finder import ImageFinder
    from modeling_fbclip.detection.sources import open_images

    with blamed_on("PATH"):
        finder = ImageFinder(recursive, output)
        return open_images(paths, finder, category[0] if category else None, batch_size)


def _blaming(
    argument: str, batches: "Callable[[Processes], Iterator[Batch]]"
) -> "Callable[[Processes], Iterator[Batch]]":
    """The same batches; a mistake that comes to light while they are made is blamed on this argument."""

    def blamed(processes: "Processes") -> "Iterator[Batch]":
        with blamed_on(argument):
            yield from batches(processes)

    return blamed


@contextmanager
def _bar(
    source: "Source", processes: "Processes"
) -> Iterator[tuple[Callable[[], object], Callable[[int, int], object]]]:
    """A progress bar of this process's share; gives the functions that move it on by an image, and by views."""
    from modeling_fbclip.common.progress import progress_bar

    total = source.total() if processes.is_main and sys.stderr.isatty() else None
    with progress_bar(total and -(-total // processes.size), "detect", visible=processes.is_main) as bar:
        yield bar.update, lambda done, total: bar.set_postfix_str(f"view {done} of {total}" * (done < total))


def _summary(seen: "Seen", results: "Results", form: RowFormat) -> str:
    detector = results.detector
    total = seen.categories.total()
    counts = [f"{total} image{'s' * (total != 1)}", f"{seen.outcomes['anomalous']} anomalous"]
    if seen.outcomes["error"]:
        counts.append(f"{seen.outcomes['error']} failed")
    modes: list[str | None] = [*seen.modes] or [None]
    limits = {mode: detector.thresholds_of(None, mode)["threshold"] for mode in modes}
    limit = f"score from {next(iter(limits.values())):.3f} on"
    if len(set(limits.values())) > 1:
        limit = "score from " + ", ".join(f"{value:.3f} on as {mode}" for mode, value in limits.items())
    known = detector.known_categories()
    if "threshold" not in detector.thresholds and known.intersection(seen.categories):
        strangers = sorted(set(seen.categories) - known)
        limit = "score from the category's threshold on"
        if strangers:
            limit += f", that of all images for {', '.join(strangers)}"
    written = ["rows"] * (form in FILES) + ["overlays"] * results.overlays + ["maps"] * results.maps
    where = (
        f"; {', '.join(written[:-1])}{' and ' * (len(written) > 1)}{written[-1]} are in {results.output}"
        if written
        else ""
    )
    if results.crops is not None:
        where += f"; crops are in {results.crops}"
    return f"{', '.join(counts)} ({limit}){where}"
