"""The report of an evaluation to look at: numbers, curves, and the best and worst images, in one file of HTML."""

from base64 import b64encode
from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, IterableDataset
from matplotlib.figure import Figure

from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.report_page import write_page
from modeling_fbclip.detection.thumbnails import make_thumbnails
from modeling_fbclip.evaluation.plots import make_figures
from modeling_fbclip.evaluation.predict import Prediction
from modeling_fbclip.evaluation.reopening import open_result
from modeling_fbclip.files_fbclip import printable

TEMPLATE = Path(__file__).parent / "page" / "evaluation.html"
MOST = 2  # best images of a kind, and worst
CAPTIONS = {
    "roc": "ROC curve",
    "pr": "Precision and recall",
    "pro": "Per-region overlap",
    "scores": "Scores of both kinds, with the threshold",
}


class Page(NamedTuple):
    """The part of the report on one category: figures by their captions, as SVG in base64, and images as cards."""

    name: str
    figures: dict[str, str]
    images: list[dict[str, Any]]


def make_page(
    category: str, predictions: list[Prediction], rows: Dataset | IterableDataset, detector: Detector
) -> Page:
    """The part of the report on one category. A stream has no images, because it cannot be read again."""
    figures = make_figures(category, predictions, detector)
    cards = []
    if isinstance(rows, Dataset):
        for words, index in best_and_worst(predictions):
            cards.append(_card(rows, category, predictions[index], words, detector))
    return Page(printable(category), {CAPTIONS[kind]: _svg(figure) for kind, figure in figures.items()}, cards)


def best_and_worst(predictions: list[Prediction]) -> list[tuple[str, int]]:
    """
    Of the normal images, and of each kind of defect, the indices of those that are scored best and worst, in words.
    """
    kinds: dict[str, list[int]] = defaultdict(list)
    for index, prediction in enumerate(predictions):
        kinds[(prediction.defect or "anomalous") if prediction.label else "normal"].append(index)
    found = []
    for kind, indices in kinds.items():
        ranked = sorted(indices, key=lambda index: predictions[index].score * (-1 if predictions[index].label else 1))
        best = ranked[: min(MOST, (len(ranked) + 1) // 2)]
        worst = ranked[len(best) :][-MOST:][::-1]
        found += [(f"best of {kind}", index) for index in best] + [(f"worst of {kind}", index) for index in worst]
    return found


def write_report(
    target: Path, title: str, summary: str, table: Sequence[Sequence[str]], facts: dict[str, str], pages: list[Page]
) -> None:
    """
    Writes the report.

    Args:
        target: the file to write.
        title, summary: what was evaluated, and what to know about the numbers.
        table: the numbers: a header, a row a category and the mean.
        facts: the model and the settings.
        pages: the parts on the categories.
    """
    values = {"title": title, "summary": summary, "table": table, "facts": facts, "pages": pages}
    write_page(target, TEMPLATE, values)


def _card(rows: Dataset, category: str, prediction: Prediction, words: str, detector: Detector) -> dict[str, Any]:
    picture, anomaly_map, mask = open_result(rows, prediction, detector.processor)
    truth = np.zeros(anomaly_map.shape, dtype=bool) if mask is None else mask
    photograph, heatmap = make_thumbnails(picture, {"anomaly_map": anomaly_map, "mask": truth})
    threshold = detector.thresholds_of(category, prediction.mode)["threshold"]
    return {
        "path": printable(prediction.path),
        "score": prediction.score,
        "label": "anomalous" if prediction.score >= threshold else "normal",
        "outcome": "anomalous" if prediction.label else "normal",
        "error": None,
        "note": printable(words),
        "width": picture.width,
        "height": picture.height,
        "photograph": photograph,
        "heatmap": heatmap,
        "regions": [],
        "more": 0,
    }


def _svg(figure: Figure) -> str:
    file = BytesIO()
    figure.savefig(file, format="svg")
    return b64encode(file.getvalue()).decode()
