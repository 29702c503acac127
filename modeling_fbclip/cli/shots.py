"""The report of `fbclip evaluate --shots` and `--mutual`: what references bring, beside the texts alone."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.stdout import printing, take_each
from modeling_fbclip.cli.tables import print_table
from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.markdown import markdown_table

if TYPE_CHECKING:
    from modeling_fbclip.detection.detector import Detector

TITLE = "Percent, mean ± standard deviation over the draws; in brackets the same images by the texts alone"
COLUMNS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pixel_aupro": "AUPRO exact"}


def measure_shots(
    detector: "Detector",
    dataset: Any,
    good: Any,
    shots: list[int],
    seeds: int,
    mutual: bool,
    size: int,
    form: str,
    output: Path | None,
) -> None:
    """Measures, prints and writes."""
    from modeling_fbclip.common.progress import progress_bar
    from modeling_fbclip.evaluation.shots import evaluate_shots

    with blamed_on("--shots"), progress_bar(len(dataset), "evaluate") as progress:
        tell = partial(progress.update, 1)
        report = evaluate_shots(detector, dataset, good, shots, seeds, mutual, size, on_image=tell)
    take_each(partial(_print, report, form), partial(_write, report, output))


def _write(report: dict[str, Any], output: Path | None) -> None:
    if output is not None:
        with blamed_on("--output"), written_aside(output) as aside:
            aside.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _print(report: dict[str, Any], form: str) -> None:
    header, *rows = _rows(report)
    if form == "table":
        print_table(header, rows, header[2:], title=TITLE)
        return
    with printing():
        if form == "json":
            print(json.dumps(report, indent=2))
        else:
            print(f"{TITLE}.\n\n" + markdown_table(header, rows, [name not in header[:2] for name in header]))


def _rows(report: dict[str, Any]) -> Iterator[list[str]]:
    yield ["category", "references", *COLUMNS.values()]
    for category, trials in [*report["categories"].items(), ("mean", report["mean"])]:
        for name, found in trials.items():
            yield [category, name, *(_cell(found, metric, name) for metric in COLUMNS)]


def _cell(found: dict[str, Any], metric: str, name: str) -> str:
    mean, std, by_texts = (found[key][metric] for key in ("mean", "std", "zero_shot"))
    if mean is None:
        return "n/a"
    spread = "" if name == "zero-shot" else f" ± {100 * std:.1f} ({100 * by_texts:.1f})"
    return f"{100 * mean:.1f}{spread}"
