"""`fbclip evaluate`: a labelled data set in; the paper's metrics out, by category and on average."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.options import (
    BatchSize,
    Category,
    Columns,
    Device,
    Dtype,
    Layout,
    Model,
    Split,
    Streaming,
    WhiteLevel,
    parse_columns,
    tell_leftovers,
)
from modeling_fbclip.cli.tables import make_table
from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.markdown import markdown_table

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1_max": "pixel F1-max",
    "pixel_aupro": "AUPRO exact",
    "pixel_aupro_published": "AUPRO published",
    "pixel_aupimo": "AUPIMO",
}
TITLE = "Percent; AUPRO up to a false positive rate of 0.3, exact, and as published: 200 thresholds, rescaled"

ReportFormat = Literal["table", "json", "markdown"]


def evaluate(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder or Hub id of a data set.", show_default=False)],
    model: Model = None,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="JSON file for the report.", show_default="none")
    ] = None,
    split: Split = "test",
    layout: Layout = None,
    columns: Columns = None,
    streaming: Streaming = False,
    category: Category = None,
    size: Annotated[int, typer.Option(min=1, help="Height and width that maps are compared at.")] = 518,
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
    white_level: WhiteLevel = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="Form of the report on stdout.")] = "table",
    plots: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for curves, histograms and misses.", show_default="none"),
    ] = None,
) -> None:
    """
    Measure a model on a labelled data set, as the paper does.

    A metric that needs good and bad images is n/a where one kind is missing, and left out of the mean.
    Several devices: accelerate launch -m modeling_fbclip.cli evaluate …

    \b
    Example:
      fbclip evaluate data/mvtec --output report.json --plots figures
    """
    with blamed_on("DATA"):
        from modeling_fbclip.data import load_anomaly_dataset

        named = parse_columns(columns)
        dataset: Any = load_anomaly_dataset(
            data, split=split, layout=layout, category=category, streaming=streaming, columns=named
        )

    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.detection.processes import join_processes
    from modeling_fbclip.evaluation import evaluate as evaluate_model

    processes = join_processes()
    detector = load_detector(model, device or processes.device, dtype, white_level)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)  # an impossible path is found before the work
    total = None if streaming else -(-len(dataset) // processes.size)
    aside = written_aside(plots, owner=processes.is_main) if plots is not None else nullcontext()
    with aside as figures, progress_bar(total, "evaluate", visible=processes.is_main) as progress:
        report = evaluate_model(
            detector.model,
            detector.processor,
            dataset,
            size=size,
            smoothing_sigma=smoothing_sigma,
            batch_size=batch_size,
            num_workers=workers,
            plots=figures,
            on_image=partial(progress.update, 1),
        )
    if processes.is_main:
        _write(report, output)
        _print(report, form)
        tell_leftovers(data, layout, named)


def _write(report: dict[str, Any], output: Path | None) -> None:
    if output is not None:
        with written_aside(output) as aside:
            aside.write_text(_to_json(report), encoding="utf-8")


def _print(report: dict[str, Any], form: ReportFormat) -> None:
    if form == "json":
        print(_to_json(report), end="")
    elif form == "markdown":
        print(_markdown(report))
    else:
        from rich.console import Console

        # A narrower table would be wrapped. A pipe has no width.
        console = Console(width=max(Console().width, 132))
        console.print(_table(report))


def _to_json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def _table(report: dict[str, Any]) -> "Table":
    header, *rows, mean = _rows(report)
    return make_table(header, rows, header[1:], mean, _title(report))


def _markdown(report: dict[str, Any]) -> str:
    header, *rows = _rows(report)
    return f"{_title(report)}.\n\n" + markdown_table(header, rows, [name != header[0] for name in header])


def _title(report: dict[str, Any]) -> str:
    overlap = report["training_overlap"]
    if overlap and overlap.get("images"):
        return f"NOT ZERO-SHOT: trained on {overlap['images']} of these {overlap['of']} images. {TITLE}"
    if overlap and "unknown" in overlap:
        return f"It is unknown whether the model was trained on these images. {TITLE}"
    return TITLE


def _rows(report: dict[str, Any]) -> Iterator[list[str]]:
    """Header, one row a category, and the mean."""
    yield ["category", "images", *COLUMNS.values()]
    for name, metrics in report["categories"].items():
        yield [name, str(report["counts"][name]["images"]), *map(_percent, (metrics[column] for column in COLUMNS))]
    total = sum(counts["images"] for counts in report["counts"].values())
    yield ["mean", str(total), *map(_percent, (report["mean"][column] for column in COLUMNS))]


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"
