"""`fbclip evaluate`: a labelled data set in; the paper's metrics out, by category and on average."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.evaluate_report import write_page
from modeling_fbclip.cli.evaluation_forms import ReportFormat, print_report, to_csv, to_json, write_file
from modeling_fbclip.cli.options import (
    BatchSize,
    Category,
    Columns,
    Device,
    Dtype,
    KeepAspect,
    Layout,
    MaxMegapixels,
    Model,
    Overlap,
    Score,
    Split,
    Streaming,
    TileSize,
    WhiteLevel,
    parse_columns,
    processor_settings,
    tell_leftovers,
    view_settings,
)
from modeling_fbclip.cli.runtimes import Runtime, device_for, require_fitting, take_runtime
from modeling_fbclip.cli.shots import measure_shots
from modeling_fbclip.cli.stdout import take_each
from modeling_fbclip.common.files import require_file, require_writable, written_aside


def evaluate(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder or Hub id of a data set.", show_default=False)],
    model: Model = None,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="JSON file for the report.", show_default="none")
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="CSV or JSON file for a row an image, misses marked.", show_default="none"),
    ] = None,
    split: Split = "test",
    layout: Layout = None,
    columns: Columns = None,
    streaming: Streaming = False,
    category: Category = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="<N|own>",
            help="Height and width that maps are compared at; own: the size of each image.",
            show_default="518; own with --tile",
        ),
    ] = None,
    smoothing_sigma: Annotated[
        float | None,
        typer.Option(min=0, help="Sigma of the Gaussian at that size.", show_default="the processor's, scaled to it"),
    ] = None,
    batch_size: BatchSize = 4,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads that read images.", show_default="one a core, 8 at most")
    ] = None,
    device: Device = None,
    dtype: Dtype = "float32",
    runtime: Runtime = "torch",
    white_level: WhiteLevel = None,
    score: Score = None,
    max_megapixels: MaxMegapixels = None,
    tile: TileSize = None,
    overlap: Overlap = None,
    keep_aspect: KeepAspect = None,
    shots: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            metavar="N…",
            help="Numbers of good images of each category to compare with, such as 1 2 4.",
            show_default="the texts alone",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many times the good images are drawn.")] = 3,
    mutual: Annotated[
        bool, typer.Option("--mutual", help="Compare the images of each category with one another.")
    ] = False,
    form: Annotated[ReportFormat, typer.Option("--format", help="Form of the report on stdout.")] = "table",
    plots: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Folder for curves, histograms, overlays of misses, misses.csv.", show_default="none"
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--report", help="File of HTML: numbers, curves, best and worst images.", show_default="none"),
    ] = None,
) -> None:
    """
    Measure a model on a labelled data set, as the paper does.

    A metric that needs good and bad images is n/a where one kind is missing, and left out of the mean.
    Several devices: accelerate launch -m modeling_fbclip.cli evaluate …

    \b
    Example:
      fbclip evaluate data/mvtec --output report.json --report report.html
      fbclip evaluate data/mvtec --shots 1 2 4 --seeds 3
    """
    _require_targets(output, rows, plots, page)
    compared_at = _size(size)
    require_fitting(runtime, device, dtype)
    if shots or mutual:
        for option, given in {"--streaming": streaming, "--plots": plots, "--rows": rows, "--report": page}.items():
            if given:
                raise typer.BadParameter("does not go with --shots and --mutual", param_hint=option)
    with blamed_on("DATA"):
        from modeling_fbclip.data import load_anomaly_dataset

        named = parse_columns(columns)
        dataset: Any = load_anomaly_dataset(
            data, split=split, layout=layout, category=category, streaming=streaming, columns=named
        )

    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.detection.processes import join_processes
    from modeling_fbclip.detection.white_level import images_of
    from modeling_fbclip.evaluation import evaluate as evaluate_model

    processes = join_processes()
    own = processor_settings(images_of(dataset), white_level, max_megapixels, score, processes.is_main)
    own |= view_settings(tile, overlap, keep_aspect)
    detector = load_detector(model, device_for(runtime, device or processes.device), dtype, own)
    take_runtime(detector, runtime, processes)
    if shots or mutual:
        good = _good_images(data, layout, category, named)
        measure_shots(detector, dataset, good, shots or [], seeds, mutual, compared_at, form, output)
        return
    total = None if streaming else -(-len(dataset) // processes.size)
    with ExitStack() as unfinished, progress_bar(total, "evaluate", visible=processes.is_main) as progress:
        figures = None
        if plots is not None:
            figures = unfinished.enter_context(written_aside(plots, owner=processes.is_main))
        report = evaluate_model(
            detector.model,
            detector.processor,
            dataset,
            size=compared_at,
            smoothing_sigma=smoothing_sigma,
            batch_size=batch_size,
            num_workers=workers,
            plots=figures,
            on_image=partial(progress.update, 1),
            with_rows=True,
            with_pages=page is not None,
            references=detector.references,
        )
        finished = unfinished.pop_all()
    if not processes.is_main:
        finished.close()
        return
    show = partial(write_page, page, data, model, report, report.pop("pages", []))
    _give_out(report, form, output, rows, partial(_keep, finished, figures), show)
    tell_leftovers(data, layout, named)
    if problems := report.get("problems"):
        raise typer.BadParameter("; ".join(problems), param_hint="--plots")


def _require_targets(output: Path | None, rows: Path | None, plots: Path | None, page: Path | None) -> None:
    """Blames what cannot be written to, before the work."""
    for option, target in (("--output", output), ("--rows", rows), ("--plots", plots)):
        if target is not None:
            with blamed_on(option):
                require_writable(target)
    if page is not None:
        with blamed_on("--report"):
            require_file(page)
    if rows is not None and rows.suffix.lower() not in (".csv", ".json"):
        raise typer.BadParameter(f"{rows} must end in .csv or .json", param_hint="--rows")


def _give_out(
    report: dict[str, Any],
    form: ReportFormat,
    output: Path | None,
    rows: Path | None,
    keep: Callable[[list[dict[str, Any]]], None],
    show: Callable[[], None],
) -> None:
    """Prints the report, writes it in all its forms, and keeps the figures; each whatever becomes of the others."""
    images = report.pop("rows")
    is_csv = rows is not None and rows.suffix.lower() == ".csv"
    take_each(
        partial(print_report, report, form),
        partial(write_file, "--output", output, to_json(report)),
        partial(write_file, "--rows", rows, to_csv(images[0], images) if is_csv else to_json(images)),
        partial(keep, images),
        show,
    )


def _size(given: str | None) -> Any:
    """The value of `--size`; typer.BadParameter if it is of another form."""
    if given is None or given == "own":
        return given
    if not (given.isascii() and given.isdigit() and int(given)):
        raise typer.BadParameter(f"{given!r} is neither a number of pixels, nor own", param_hint="--size")
    return int(given)


def _good_images(data: str, layout: str | None, category: list[str] | None, columns: dict[str, str]) -> Any:
    """The images for training, if there are any: references are drawn from the good ones."""
    from modeling_fbclip.data import load_anomaly_dataset

    try:
        return load_anomaly_dataset(data, "train", layout=layout, category=category, columns=columns)
    except ValueError:
        return None


def _keep(finished: ExitStack, figures: Path | None, images: list[dict[str, Any]]) -> None:
    from modeling_fbclip.common.own_results import MISSES

    with blamed_on("--plots"), finished:
        if figures is not None:
            misses = [image for image in images if image["figure"]]
            figures.mkdir(parents=True, exist_ok=True)
            (figures / MISSES).write_text(to_csv(images[0], misses), encoding="utf-8")
