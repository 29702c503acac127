"""`fbclip evaluate`: a labelled data set in; the paper's metrics out, by category and on average."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
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
    Layout,
    MaxMegapixels,
    Model,
    Score,
    Split,
    Streaming,
    WhiteLevel,
    choose_white_level,
    parse_columns,
    tell_leftovers,
)
from modeling_fbclip.cli.shots import measure_shots
from modeling_fbclip.cli.stdout import printing, take_each
from modeling_fbclip.cli.tables import print_table
from modeling_fbclip.common.files import require_writable, written_aside
from modeling_fbclip.common.markdown import markdown_table

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
ROW_COLUMNS = ("path", "category", "defect", "label", "score", "figure")

ReportFormat = Literal["table", "json", "markdown"]


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
    score: Score = None,
    max_megapixels: MaxMegapixels = None,
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
) -> None:
    """
    Measure a model on a labelled data set, as the paper does.

    A metric that needs good and bad images is n/a where one kind is missing, and left out of the mean.
    Several devices: accelerate launch -m modeling_fbclip.cli evaluate …

    \b
    Example:
      fbclip evaluate data/mvtec --output report.json --plots figures
      fbclip evaluate data/mvtec --shots 1 2 4 --seeds 3
    """
    for option, target in (("--output", output), ("--rows", rows), ("--plots", plots)):
        if target is not None:
            with blamed_on(option):
                require_writable(target)
    if rows is not None and rows.suffix.lower() not in (".csv", ".json"):
        raise typer.BadParameter(f"{rows} must end in .csv or .json", param_hint="--rows")
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
    white = choose_white_level(white_level, max_megapixels, images_of(dataset), processes.is_main)
    own = {"white_level": white, "max_megapixels": max_megapixels, "score": score}
    detector = load_detector(model, device or processes.device, dtype, own)
    if shots or mutual:
        if streaming or plots is not None or rows is not None:
            option = "--streaming" if streaming else "--plots" if plots is not None else "--rows"
            raise typer.BadParameter("does not go with --shots and --mutual", param_hint=option)
        good = _good_images(data, layout, category, named)
        measure_shots(detector, dataset, good, shots or [], seeds, mutual, size, form, output)
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
            size=size,
            smoothing_sigma=smoothing_sigma,
            batch_size=batch_size,
            num_workers=workers,
            plots=figures,
            on_image=partial(progress.update, 1),
            with_rows=True,
            references=detector.references,
        )
        finished = unfinished.pop_all()
    images = report.pop("rows")
    as_rows = _to_csv if rows is not None and rows.suffix.lower() == ".csv" else _to_json
    if not processes.is_main:
        finished.close()
        return
    take_each(
        partial(_print, report, form),
        partial(_write, "--output", output, _to_json(report)),
        partial(_write, "--rows", rows, as_rows(images)),
        partial(_keep, finished, figures, images),
    )
    tell_leftovers(data, layout, named)
    if problems := report.get("problems"):
        raise typer.BadParameter("; ".join(problems), param_hint="--plots")


def _good_images(data: str, layout: str | None, category: list[str] | None, columns: dict[str, str]) -> Any:
    """The images for training, if there are any: references are drawn from the good ones."""
    from modeling_fbclip.data import load_anomaly_dataset

    try:
        return load_anomaly_dataset(data, "train", layout=layout, category=category, columns=columns)
    except ValueError:
        return None


def _write(option: str, target: Path | None, text: str) -> None:
    if target is not None:
        with blamed_on(option), written_aside(target) as aside:
            aside.write_text(text, encoding="utf-8")


def _keep(finished: ExitStack, figures: Path | None, images: list[dict[str, Any]]) -> None:
    with blamed_on("--plots"), finished:
        if figures is not None:
            misses = [image for image in images if image["figure"]]
            figures.mkdir(parents=True, exist_ok=True)
            (figures / "misses.csv").write_text(_to_csv(misses), encoding="utf-8")


def _print(report: dict[str, Any], form: ReportFormat) -> None:
    if form == "table":
        header, *rows, mean = _rows(report)
        print_table(header, rows, header[1:], mean, _title(report))
    else:
        with printing():
            print(_to_json(report) if form == "json" else _markdown(report) + "\n", end="")
    few = [name for name, metrics in report["categories"].items() if _has_too_few_pixels(metrics)]
    if few and form != "json":
        said = "AUPIMO needs 100000 pixels of normal images, more images or a larger --size; n/a for"
        typer.echo(f"{said} {', '.join(few)}", err=True)


def _has_too_few_pixels(metrics: dict[str, float | None]) -> bool:
    return metrics["pixel_aupimo"] is None and metrics["pixel_auroc"] is not None


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _to_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ROW_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _markdown(report: dict[str, Any]) -> str:
    header, *rows = _rows(report)
    return f"{_title(report)}.\n\n" + markdown_table(header, rows, [name != header[0] for name in header])


def _title(report: dict[str, Any]) -> str:
    trained, calibrated = report["training_overlap"] or {}, report["calibration_overlap"] or {}
    said = []
    if trained.get("images"):
        said.append(f"NOT ZERO-SHOT: trained on {trained['images']} of these {trained['of']} images.")
    if "unknown" in trained:
        said.append("It is unknown whether the model was trained on these images.")
    if calibrated.get("images"):
        said.append(f"Thresholds were set on {calibrated['images']} of these {calibrated['of']} images.")
    return " ".join([*said, TITLE])


def _rows(report: dict[str, Any]) -> Iterator[list[str]]:
    """Header, one row a category, and the mean."""
    yield ["category", "images", *COLUMNS.values()]
    for name, metrics in report["categories"].items():
        yield [name, str(report["counts"][name]["images"]), *map(_percent, (metrics[column] for column in COLUMNS))]
    total = sum(counts["images"] for counts in report["counts"].values())
    yield ["mean", str(total), *map(_percent, (report["mean"][column] for column in COLUMNS))]


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"
