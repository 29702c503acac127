"""The report of `fbclip evaluate --shots` and `--mutual`: what references bring, beside the texts alone."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.evaluation_forms import COLUMNS, to_json, write_file
from modeling_fbclip.cli.stdout import printing, take_each
from modeling_fbclip.cli.tables import print_table
from modeling_fbclip.common.markdown import markdown_table

if TYPE_CHECKING:
    from modeling_fbclip.detection.detector import Detector

TITLE = "Percent, mean ± standard deviation over the draws; in brackets the same images by the texts alone"
METRICS = ("image_auroc", "pixel_auroc", "pixel_aupro")


def measure_shots(
    detector: "Detector",
    dataset: Any,
    good: Any,
    shots: list[int],
    seeds: int,
    mutual: bool,
    size: Any,
    form: str,
    output: Path | None,
) -> None:
    """Measures, prints and writes."""
    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.evaluation.shots import evaluate_shots

    with blamed_on("--shots"), progress_bar(len(dataset), "evaluate") as progress:
        tell = partial(progress.update, 1)
        report = evaluate_shots(detector, dataset, good, shots, seeds, mutual, size, on_image=tell)
    take_each(partial(_print, report, form), partial(write_file, "--output", output, to_json(report)))


def _print(report: dict[str, Any], form: str) -> None:
    header, *rows = _rows(report)
    if form == "table":
        print_table(header, rows, header[2:], title=TITLE)
        return
    with printing():
        table = markdown_table(header, rows, [name not in header[:2] for name in header])
        print(to_json(report) if form == "json" else f"{TITLE}.\n\n{table}\n", end="")


def _rows(report: dict[str, Any]) -> Iterator[list[str]]:
    yield ["category", "references", *(COLUMNS[metric] for metric in METRICS)]
    for category, trials in [*report["categories"].items(), ("mean", report["mean"])]:
        for name, found in trials.items():
            yield [category, name, *(_cell(found, metric, name) for metric in METRICS)]


def _cell(found: dict[str, Any], metric: str, name: str) -> str:
    mean, std, by_texts = (found[key][metric] for key in ("mean", "std", "zero_shot"))
    if mean is None:
        return "n/a"
    spread = "" if name == "zero-shot" else f" ± {100 * std:.1f} ({100 * by_texts:.1f})"
    return f"{100 * mean:.1f}{spread}"
