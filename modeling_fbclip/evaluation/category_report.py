"""The report on one category: its metrics, and what became of each image."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from modeling_fbclip.common.messages import one_line
from modeling_fbclip.evaluation.metrics import Metrics, compute_metrics
from modeling_fbclip.evaluation.predict import Prediction, masked_maps, scores_and_labels

if TYPE_CHECKING:
    from modeling_fbclip.evaluation.report import Page


class CategoryReport(NamedTuple):
    """
    Metrics of one category, its numbers of images, how many of them are in each of the `OVERLAPS`, a row for each
    image, what is odd in the masks, with the image's name, why a figure could not be saved, and its part of a report
    to look at.
    """

    name: str
    metrics: Metrics
    counts: dict[str, int]
    overlaps: dict[str, int]
    rows: list[dict[str, Any]]
    oddities: list[tuple[str, str]]
    problem: str | None = None
    page: "Page | None" = None


def report_category(name: str, predictions: list[Prediction], digests: Mapping[str, frozenset[str]]) -> CategoryReport:
    """The report on a category. `digests` are those of the images that each of the `OVERLAPS` is with."""
    anomalous = [prediction for prediction in predictions if prediction.label]
    counts = {
        "images": len(predictions),
        "normal": len(predictions) - len(anomalous),
        "anomalous": len(anomalous),
        "anomalous_without_mask": sum(prediction.mask is None for prediction in anomalous),
    }
    metrics = compute_metrics(*masked_maps(predictions), *scores_and_labels(predictions))
    overlaps = {
        overlap: sum(prediction.digest in known for prediction in predictions) for overlap, known in digests.items()
    }
    rows = [
        {
            "path": prediction.path,
            "category": name,
            "defect": prediction.defect,
            "label": "anomalous" if prediction.label else "normal",
            "score": prediction.score,
            "figure": None,
        }
        for prediction in predictions
    ]
    oddities = [(prediction.path, problem) for prediction in predictions for problem in prediction.problems]
    return CategoryReport(name, metrics, counts, overlaps, rows, oddities)


def with_figures(category: CategoryReport, save: Callable[[], Mapping[int, str]]) -> CategoryReport:
    """The report with the names of the figures that `save` gives, or with why it could not save them."""
    try:
        for row, figure in save().items():
            category.rows[row]["figure"] = figure
    except OSError as error:
        return category._replace(problem=f"the figures of {category.name}: {one_line(error)}")
    return category
