"""The report of `fbclip evaluate` as a table, as JSON, Markdown or CSV."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import typer

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.stdout import printing
from modeling_fbclip.cli.tables import print_table
from modeling_fbclip.common.files import written_aside
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

ReportFormat = Literal["table", "json", "markdown"]


def print_report(report: dict[str, Any], form: ReportFormat) -> None:
    """Prints the report on stdout, and on stderr what it lacks."""
    if form == "table":
        header, *rows, mean = table_rows(report)
        print_table(header, rows, header[1:], mean, title_of(report))
    else:
        with printing():
            print(to_json(report) if form == "json" else _markdown(report) + "\n", end="")
    few = [name for name, metrics in report["categories"].items() if _has_too_few_pixels(metrics)]
    if few and form != "json":
        said = "AUPIMO needs 100000 pixels of normal images, more images or a larger --size; n/a for"
        typer.echo(f"{said} {', '.join(few)}", err=True)


def _has_too_few_pixels(metrics: dict[str, float | None]) -> bool:
    return metrics["pixel_aupimo"] is None and metrics["pixel_auroc"] is not None


def to_json(value: Any) -> str:
    """The text of a JSON file."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_file(option: str, target: Path | None, text: str) -> None:
    """Writes the file that an option names, if it names one."""
    if target is not None:
        with blamed_on(option), written_aside(target) as aside:
            aside.write_text(text, encoding="utf-8")


def to_csv(header: Iterable[str], rows: Iterable[dict[str, Any]]) -> str:
    """Rows as CSV, with a line of their names first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(header), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _markdown(report: dict[str, Any]) -> str:
    header, *rows = table_rows(report)
    return f"{title_of(report)}.\n\n" + markdown_table(header, rows, [name != header[0] for name in header])


def title_of(report: dict[str, Any]) -> str:
    """What to know about the numbers."""
    trained, calibrated = report["training_overlap"] or {}, report["calibration_overlap"] or {}
    said = []
    if trained.get("images"):
        said.append(f"NOT ZERO-SHOT: trained on {trained['images']} of these {trained['of']} images.")
    if "unknown" in trained:
        said.append("It is unknown whether the model was trained on these images.")
    if calibrated.get("images"):
        said.append(f"Thresholds were set on {calibrated['images']} of these {calibrated['of']} images.")
    return " ".join([*said, TITLE])


def table_rows(report: dict[str, Any]) -> Iterator[list[str]]:
    """Header, one row a category, and the mean."""
    yield ["category", "images", *COLUMNS.values()]
    for name, metrics in report["categories"].items():
        yield [name, str(report["counts"][name]["images"]), *map(_percent, (metrics[column] for column in COLUMNS))]
    total = sum(counts["images"] for counts in report["counts"].values())
    yield ["mean", str(total), *map(_percent, (report["mean"][column] for column in COLUMNS))]


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"
