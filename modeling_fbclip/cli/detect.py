"""`fbclip detect`: images in; a score, an overlay and a map of each out."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from modeling_fbclip.cli import detect_options as own_options
from modeling_fbclip.cli.detect_inputs import add_stdin, open_data, open_paths, require_one_kind
from modeling_fbclip.cli.detect_report import reporting
from modeling_fbclip.cli.detect_summary import summarise
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
from modeling_fbclip.cli.row_forms import FILES, choose_format, writing
from modeling_fbclip.cli.runtimes import Runtime, device_for, faster_runtime, require_fitting, take_runtime
from modeling_fbclip.common.files import require_file, require_writable

if TYPE_CHECKING:
    from modeling_fbclip.common.listing import LeftOut
    from modeling_fbclip.detection.detector import Detector
    from modeling_fbclip.detection.processes import Processes
    from modeling_fbclip.detection.sources import Source


def detect(
    paths: own_options.Paths = None,
    data: own_options.Data = None,
    split: own_options.DataSplit = None,
    layout: own_options.DataLayout = None,
    columns: Columns = None,
    streaming: Streaming = False,
    category: own_options.ImageCategory = None,
    model: Model = None,
    output: own_options.Output = Path("outputs"),
    references: own_options.References = None,
    mutual: own_options.Mutual = False,
    mutual_sample: own_options.MutualSample = 32,
    seed: own_options.Seed = 0,
    overlays: own_options.Overlays = True,
    maps: own_options.Maps = True,
    threshold: own_options.Threshold = None,
    pixel_threshold: own_options.PixelThreshold = None,
    min_area: own_options.MinArea = None,
    crops: own_options.Crops = None,
    caption: own_options.Caption = False,
    report: own_options.Report = None,
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
    form: own_options.Form = None,
    resume: own_options.Resume = False,
    recursive: own_options.Recursive = False,
    stdin: own_options.Stdin = False,
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
        paths = add_stdin(paths, processes, earlier)
    if mutual and references:
        raise typer.BadParameter("compare with --references or by --mutual, not both", param_hint="--mutual")
    form = choose_format(form, resume or processes.size > 1)
    require_fitting(runtime, device, dtype)
    of_data = {"--split": split, "--layout": layout, "--columns": columns, "--streaming": streaming}
    require_one_kind(paths, data, category, of_data, recursive)
    if caption and not overlays:
        raise typer.BadParameter("is for overlays, which --no-overlays leaves out", param_hint="--caption")
    _require_targets(output, crops, report)
    if data is None:
        source = open_paths(paths or [], recursive, output, category, batch_size)
    else:
        source = open_data(data, split, category, layout, streaming, batch_size, parse_columns(columns))

    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.detection.results import Results
    from modeling_fbclip.detection.run import Seen, detect_all

    images = (item.source for batch in source.batches(ALONE) for item in batch)
    own = processor_settings(images, white_level, max_megapixels, score, processes.is_main)
    own |= view_settings(tile, overlap, keep_aspect) | ({} if min_area is None else {"min_area": min_area})
    detector = load_detector(model, device_for(runtime, device or processes.device), dtype, own)
    take_runtime(detector, runtime, processes)
    if references or mutual:
        _add_references(detector, references, source, output, mutual_sample, seed, processes)
    given = {"threshold": threshold, "pixel_threshold": pixel_threshold}
    detector.thresholds = {name: value for name, value in given.items() if value is not None}
    if data is None and category:
        with blamed_on("--category"):
            detector.processor.thresholds_of(category[0])  # refuses one that has none
    started = time.monotonic()
    results = Results(detector, source.folder, output, overlays, maps, caption, crops)
    where = {"data": data, "split": (split or "test") if data else None, "category": category, "layout": layout}
    settings = {"batch_size": batch_size, "report": report is not None} | where
    _make_folders(output, overlays or maps or form in FILES, crops)
    with (
        blamed_on("--output"),
        writing(form, results, processes, settings, resume) as (done, write),
        reporting(report, model, form, results, processes) as collected,
        _bar(source, processes) as tell,
    ):
        seen = detect_all(source, collected, processes, done, write, *tell)
    seen = Seen(*map(processes.add_up, seen))
    if processes.is_main:
        typer.echo(summarise(seen, results, form) + source.left_out() + describe(earlier), err=True)
        if line := faster_runtime(detector, time.monotonic() - started):
            typer.echo(line, err=True)
    if seen.outcomes["error"]:
        raise typer.Exit(1)


def _require_targets(output: Path, crops: Path | None, report: Path | None) -> None:
    """Blames what cannot be written to, before the work."""
    with blamed_on("--output"):
        require_writable(output)
    if crops is not None:
        with blamed_on("--crops"):
            require_writable(crops)
    if report is not None:
        with blamed_on("--report"):
            require_file(report)


def _make_folders(output: Path, has_results: bool, crops: Path | None) -> None:
    """The folders of results, with the marker that later runs know them by."""
    from modeling_fbclip.common.own_results import mark_results

    with blamed_on("--output"):
        output.mkdir(parents=True, exist_ok=True)
        if has_results:
            mark_results(output)
    if crops is not None:
        with blamed_on("--crops"):
            crops.mkdir(parents=True, exist_ok=True)
            mark_results(crops)


def _add_references(
    detector: "Detector",
    references: list[str] | None,
    source: "Source",
    output: Path,
    mutual_sample: int,
    seed: int,
    processes: "Processes",
) -> None:
    """Lets the detector compare with good images, or if none are named with some of the images themselves."""
    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.detection.references import make_mutual_references, make_references

    with progress_bar(None, "references", visible=processes.is_main) as progress:
        tell_one = partial(progress.update, 1)
        if references:
            with blamed_on("--references"):
                detector.references = make_references(detector, references, output, tell_one)
        else:
            with blamed_on("--mutual"):
                detector.references = make_mutual_references(detector, source, mutual_sample, seed, tell_one)


@contextmanager
def _bar(
    source: "Source", processes: "Processes"
) -> Iterator[tuple[Callable[[], object], Callable[[int, int], object]]]:
    """A progress bar of this process's share; gives the functions that move it on by an image, and by views."""
    from modeling_fbclip.common.progress import progress_bar

    total = source.total() if processes.is_main and sys.stderr.isatty() else None
    with progress_bar(total and -(-total // processes.size), "detect", visible=processes.is_main) as bar:
        yield bar.update, lambda done, total: bar.set_postfix_str(f"view {done} of {total}" * (done < total))
