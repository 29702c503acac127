"""What references bring: a few good images of each category, drawn several times, or all images of it mutually."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset

from modeling_fbclip.data.decoding import row_name, undecoded
from modeling_fbclip.detection.detector import Detector, Prepared
from modeling_fbclip.detection.sources import image_of
from modeling_fbclip.evaluation.metrics import METRIC_NAMES, Metrics, compute_metrics, mean_metrics
from modeling_fbclip.evaluation.predict import (
    CompareSize,
    Comparison,
    Truth,
    category_name,
    masked_maps,
    read_sample,
    scores_and_labels,
    to_prediction,
)
from modeling_fbclip.mutual_fbclip import make_mutual
from modeling_fbclip.references_fbclip import FBCLIPReferences
from modeling_fbclip.view_batches_fbclip import Outputs

MUTUAL = "mutual"
ZERO_SHOT = "zero-shot"
Judged = tuple[Truth, list[Outputs], tuple[int, int]]  # of an image: the outputs of its views, and its size


class Draw(NamedTuple):
    """Metrics with the references of one draw, and of the same images by the texts alone."""

    metrics: Metrics
    by_texts: Metrics


class Trial(NamedTuple):
    """
    One way to judge the images of a category.

    Args:
        name: the number of references, `zero-shot` or `mutual`.
        references: what images are compared with; `None` for the texts alone.
        drawn: the images of the data set that are in them, which are left out.
    """

    name: str
    references: FBCLIPReferences | None
    drawn: frozenset[int]


def evaluate_shots(
    detector: Detector,
    dataset: Dataset,
    good: Dataset | None,
    shots: Sequence[int] = (1, 2, 4),
    seeds: int = 3,
    mutual: bool = False,
    size: CompareSize | None = None,
    on_image: Callable[[], object] | None = None,
) -> dict[str, Any]:
    r"""
    Measures a model on each category by the texts alone, and with references of that category. An image goes through
    the model once.

    Args:
        detector ([`Detector`]): The model with its processor. Its own references are not used.
        dataset (`datasets.Dataset`): The images to measure on, as for [`evaluate`].
        good (`datasets.Dataset`, *optional*): Good images to draw from. A category without one there draws from
            `dataset`, and the images drawn leave the test.
        shots (`list[int]`): Numbers of references.
        seeds (`int`, defaults to 3): How many times each number is drawn.
        mutual (`bool`, defaults to `False`): Whether the images of a category judge one another as well, in one draw.
        size (`int`, `tuple[int, int]` or `"own"`, *optional*): Height and width that maps are compared at, as for
            [`evaluate`].
        on_image (callable, *optional*): Called after each image that is measured.

    Returns:
        `dict`: `categories` by name and their `mean`, each with metrics by the name of the trial (`"zero-shot"`,
        `"1"`, `"2"` …, `"mutual"`): `mean` and `std` over the draws, as from [`compute_metrics`], and `zero_shot`, the
        mean of the same images by the texts alone; `settings`.

    Raises:
        `ValueError`: A category has too few good images, or an image cannot be read.
    """
    images = undecoded(dataset)
    apart = None if good is None else undecoded(good)
    good_rows = {} if apart is None else _by_category(apart, good_only=True)
    measured_good_rows = _by_category(images, good_only=True)
    categories: dict[str, dict[str, list[Draw]]] = {}
    for name, rows in _by_category(images).items():
        if apart is not None and name in good_rows:
            sources = _Good(apart, good_rows[name], False)
        else:
            sources = _Good(images, measured_good_rows.get(name, []), True)
        trials = list(_trials(detector, sources, images, rows, shots, seeds, mutual))
        categories[name] = _measure(detector, images, rows, trials, size, on_image)
    names = list(next(iter(categories.values())))
    means = {name: _mean_draws([found[name] for found in categories.values()]) for name in names}
    return {
        "mean": {name: _summary(draws) for name, draws in means.items()},
        "categories": {
            category: {name: _summary(draws) for name, draws in found.items()}
            for category, found in categories.items()
        },
        "settings": {"shots": list(shots), "seeds": seeds, "mutual": mutual, "size": size},
    }


def _mean_draws(categories: list[list[Draw]]) -> list[Draw]:
    """The mean over the categories, draw by draw."""
    return [
        Draw(mean_metrics(draw.metrics for draw in draws), mean_metrics(draw.by_texts for draw in draws))
        for draws in zip(*categories, strict=True)
    ]


def _by_category(dataset: Dataset, good_only: bool = False) -> dict[str, list[int]]:
    """The rows of each category, or of its good images."""
    names = dataset["category"] if "category" in dataset.column_names else [None] * len(dataset)
    rows: dict[str, list[int]] = defaultdict(list)
    for index, (name, label) in enumerate(zip(names, dataset["label"], strict=True)):
        if not (good_only and label):
            rows[category_name(name)].append(index)
    return dict(rows)


class _Good(NamedTuple):
    """Good images to draw from: rows of an undecoded data set, and whether they are rows of the measured one."""

    dataset: Dataset
    rows: list[int]
    is_measured: bool


def _trials(
    detector: Detector, good: _Good, images: Dataset, rows: list[int], shots: Sequence[int], seeds: int, mutual: bool
) -> Iterator[Trial]:
    yield Trial(ZERO_SHOT, None, frozenset())
    for count in shots:
        if len(good.rows) < count + good.is_measured:
            raise ValueError(f"{count} references need more good images than the {len(good.rows)} of a category.")
        for seed in range(seeds):
            drawn = np.random.default_rng(seed).choice(good.rows, count, replace=False).tolist()
            pictures = [_read(good.dataset, row) for row in drawn]
            bank = FBCLIPReferences.from_images(
                detector.model, detector.processor, pictures, [str(row) for row in drawn]
            )
            yield Trial(str(count), bank, frozenset(drawn if good.is_measured else ()))
    if mutual:
        every = [partial(_read, images, row) for row in rows]
        yield Trial(MUTUAL, make_mutual(detector.model, detector.processor, every), frozenset())


def _read(images: Dataset, index: int) -> Any:
    row: Any = images[index]
    return image_of(row, row_name(row, index))


@torch.inference_mode()
def _measure(
    detector: Detector,
    images: Dataset,
    rows: list[int],
    trials: list[Trial],
    size: CompareSize | None,
    on_image: Callable[[], object] | None,
) -> dict[str, list[Draw]]:
    """Draws of each trial, by its name."""
    comparison = Comparison.of(detector.processor, size)
    held: list[list[Judged]] = [[] for _ in trials]
    for row in rows:
        truth, prepared = read_sample(images[row], row, detector, comparison.size)
        for trial in trials:
            if trial.references is not None and row not in trial.drawn:
                _require_same_views(trial.references, prepared, truth.path, detector)
        judged: list[list[Outputs]] = [[] for _ in trials]
        for place, view in enumerate(prepared.views):
            pixel_values = detector.processor.prepare_view(prepared.picture, view)[None]
            outputs = detector.model(
                pixel_values.to(detector.model.device, detector.model.dtype), output_hidden_states=True
            )
            for trial, own in zip(trials, judged, strict=True):
                if row not in trial.drawn:
                    own.append(_judged(trial, outputs, place))
        for trial, kept, own in zip(trials, held, judged, strict=True):
            if row not in trial.drawn:
                kept.append((truth, own, prepared.size))
        if on_image is not None:
            on_image()
    by_texts: dict[frozenset[int], Metrics] = {}  # of all images but those drawn
    found: dict[str, list[Draw]] = defaultdict(list)
    for trial, kept in zip(trials, held, strict=True):
        if trial.drawn not in by_texts:
            same_images = [one for one in held[0] if one[0].row not in trial.drawn]
            by_texts[trial.drawn] = _metrics(same_images, comparison)
        same = by_texts[trial.drawn]
        metrics = same if trial.references is None else _metrics(kept, comparison)
        found[trial.name].append(Draw(metrics, same))
    return dict(found)


def _require_same_views(references: FBCLIPReferences, prepared: Prepared, name: str, detector: Detector) -> None:
    try:
        references.check_views(prepared.views, detector.model.config.patch_size)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _metrics(judged: list[Judged], comparison: Comparison) -> Metrics:
    predictions = [to_prediction(*one, comparison) for one in judged]
    return compute_metrics(*masked_maps(predictions), *scores_and_labels(predictions))


def _judged(trial: Trial, outputs: Any, place: int) -> Outputs:
    """The outputs for the view at a place."""
    if trial.references is None:
        return {"image_scores": outputs.image_scores, "anomaly_maps": outputs.anomaly_maps}
    grid = tuple(outputs.anomaly_maps.shape[1:])
    scores, maps, *_ = trial.references.at([place]).judge(outputs.hidden_states, outputs.logits, grid)
    return {"image_scores": scores, "anomaly_maps": maps, "reference_scores": scores}


def _summary(draws: list[Draw]) -> dict[str, Metrics]:
    """Mean and standard deviation of each metric over the draws."""
    with_references = _values([draw.metrics for draw in draws])
    by_texts = _values([draw.by_texts for draw in draws])
    return {
        "mean": {name: float(np.mean(values)) if values else None for name, values in with_references.items()},
        "std": {name: float(np.std(values)) if values else None for name, values in with_references.items()},
        "zero_shot": {name: float(np.mean(values)) if values else None for name, values in by_texts.items()},
    }


def _values(draws: list[Metrics]) -> dict[str, list[float]]:
    return {name: [value for draw in draws if (value := draw[name]) is not None] for name in METRIC_NAMES}
