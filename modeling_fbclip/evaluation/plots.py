"""Figures of an evaluation: curves, histograms of scores, and overlays of the worst errors."""

from pathlib import Path
from urllib.parse import quote

import numpy as np
from datasets import Dataset, IterableDataset
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modeling_fbclip.common.own_results import ERRORS, EXTREMES, mark_results
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.rendering import render_overlay
from modeling_fbclip.evaluation.aupro import MAX_FPR, RegionOverlap
from modeling_fbclip.evaluation.metrics import BoolArray, pixel_ranking
from modeling_fbclip.evaluation.predict import Prediction, masked_maps, scores_and_labels
from modeling_fbclip.evaluation.ranking import FloatArray, Ranking
from modeling_fbclip.evaluation.reopening import open_result

WORST_MISSES = 4  # of each kind
MOST_POINTS = 2000  # of a curve; it has up to two for every anomalous pixel


def save_plots(
    folder: Path, category: str, predictions: list[Prediction], rows: Dataset | IterableDataset, detector: Detector
) -> dict[int, str]:
    r"""
    Writes the figures of one category as PNG files named after it: those of `make_figures`, and overlays of up to four
    missed images (`.miss-1` has the lowest score) and four false alarms (`.alarm-1` has the highest), with the true
    regions outlined in white. Where there are images of one kind only, those of the lowest (`.lowest-1`) or the
    highest scores. A stream has no overlays, because it cannot be read again.

    Returns:
        `dict[int, str]`: The file names of the overlays, by the indices of their predictions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark_results(folder)
    stem = quote(category, safe=" ")
    for kind, figure in make_figures(category, predictions, detector).items():
        figure.savefig(folder / f"{stem}.{kind}.png")
    figures = {index: f"{stem}.{name}.png" for name, index in worst_errors(*scores_and_labels(predictions))}
    if not isinstance(rows, Dataset):
        return {}
    for index, name in figures.items():
        picture, anomaly_map, mask = open_result(rows, predictions[index], detector.processor)
        render_overlay(picture, anomaly_map, mask).save(folder / name)
    return figures


def make_figures(category: str, predictions: list[Prediction], detector: Detector) -> dict[str, Figure]:
    """
    The curves of a category that are defined (`roc`, `pr`, `pro`: the per-region overlap), and histograms of its
    `scores` with the threshold.
    """
    scores, labels = scores_and_labels(predictions)
    maps, masks = masked_maps(predictions)
    images, pixels = Ranking(scores[~labels], scores[labels]), pixel_ranking(maps, masks)
    defined = {name: each for name, each in {"images": images, "pixels": pixels}.items() if each.is_defined}
    regions = RegionOverlap(maps, masks, pixels.normal)
    figures = {}
    if defined:
        rocs = {name: ranking.roc_curve() for name, ranking in defined.items()}
        figures["roc"] = _plot_curves(rocs, ("false positive rate", "recall"), 1.0, category)
        precisions = {name: ranking.precision_recall_curve() for name, ranking in defined.items()}
        figures["pr"] = _plot_curves(precisions, ("recall", "precision"), 1.0, category)
    if regions.is_defined:
        axes = ("false positive rate", "per-region overlap")
        figures["pro"] = _plot_curves({"regions": regions.curve()}, axes, MAX_FPR, category)
    threshold = detector.thresholds_of(category, predictions[0].mode)["threshold"]
    return figures | {"scores": plot_scores(images, threshold, category)}


def _plot_curves(
    curves: dict[str, tuple[FloatArray, FloatArray]], labels: tuple[str, str], end: float, title: str
) -> Figure:
    """Curves over an axis from 0 to `end`."""
    figure, axes = _figure(title)
    for name, (rates, shares) in curves.items():
        inside = int(np.searchsorted(rates, end, side="right")) + 1
        shown = np.unique(np.linspace(0, min(inside, len(rates)) - 1, MOST_POINTS).astype(int))
        axes.plot(rates[shown], shares[shown], label=name)
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, end), ylim=(0, 1.01))
    axes.legend(loc="best")
    return figure


def plot_scores(images: Ranking, threshold: float, title: str) -> Figure:
    """Histograms of the scores of both classes, with the threshold; a class without images is left out."""
    figure, axes = _figure(title)
    for name, scores in (("normal", images.normal), ("anomalous", images.anomalous)):
        if scores.size:
            axes.hist(scores, bins=40, range=(0, 1), label=f"{name} ({scores.size})", alpha=0.6)
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3f}")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="image score", ylabel="images", xlim=(0, 1))
    axes.legend()
    return figure


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 4), dpi=120, layout="constrained")  # a figure of pyplot would stay in memory
    return figure, figure.add_subplot(title=title)


def worst_errors(scores: FloatArray, labels: BoolArray) -> list[tuple[str, int]]:
    """
    Names and indices of anomalous images that score below a normal one, and of normal ones above an anomalous. Where
    there is nothing to compare with, of those with the lowest and the highest scores.
    """
    order = np.argsort(scores, kind="stable").tolist()
    highest, lowest = scores[~labels].max(initial=-np.inf), scores[labels].min(initial=np.inf)
    one_kind = labels.all() or not labels.any()
    missed = [index for index in order if labels[index] and (one_kind or scores[index] <= highest)]
    alarms = [index for index in order[::-1] if not labels[index] and (one_kind or scores[index] >= lowest)]
    names = EXTREMES if one_kind else ERRORS
    return [
        (f"{name}-{place}", index)
        for name, indices in zip(names, (missed, alarms), strict=True)
        for place, index in enumerate(indices[:WORST_MISSES], start=1)
    ]
