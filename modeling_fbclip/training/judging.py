"""How good the model is on held-out images: before the training, and after each epoch."""

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from torch.utils.data import DataLoader

from modeling_fbclip.evaluation.aupro import RegionOverlap
from modeling_fbclip.evaluation.metrics import pixel_ranking
from modeling_fbclip.evaluation.ranking import Ranking
from modeling_fbclip.loss_fbclip import IGNORE_INDEX
from modeling_fbclip.modeling_fbclip import FBCLIPOutput
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.results_fbclip import one_output
from modeling_fbclip.training.steps import LOSS_PARTS, Batch, forward, loss_sums, sizes_of, some_of

TRAINED_SCORE = "cls"  # the kind of score that labels alone train
METRICS = ("image_auroc", "pixel_aupro")  # that the best epoch is chosen by
FAR_WORSE_LOSS = 2.0  # times that of the start
SMALL_LOSS = 0.1  # of a start; what is above it by chance is no fault
FAR_WORSE_VALUE = 0.2  # below that of the start
NEAR_CHANCE = 0.4  # where scores that know nothing have an AUROC of 0.5, and maps an AUPRO of 0.15
FLAT = 0.02  # share of the start's spread; with less, the model says nearly the same of every image and pixel


@dataclass(frozen=True)
class Candidate:
    """
    What an epoch brought, 0 being the model before training: the loss, the AUROC of the images' scores of the kind
    `score`, and the exact AUPRO of the maps, in `[0, 1]`; `None` where the images do not define it. `spread` is the
    range of the scores, or the largest of a map if that is more.
    """

    epoch: int
    step: int
    loss: float
    image_auroc: float | None
    pixel_aupro: float | None
    score: str
    spread: float = 1.0

    @property
    def title(self) -> str:
        """In words."""
        return f"the model of epoch {self.epoch}" if self.epoch else "the model before training"

    @property
    def value(self) -> float:
        """What is compared: the mean of both metrics, one of them, or the negative loss if there is none."""
        metrics = [metric for name in METRICS if (metric := getattr(self, name)) is not None]
        return mean(metrics) if metrics else -self.loss

    def fault(self, start: "Candidate") -> str | None:
        """What shows that the training has gone wrong, rather than brought nothing; `None` if nothing does."""
        if self.loss > FAR_WORSE_LOSS * max(start.loss, SMALL_LOSS) and self.value <= start.value:
            return f"its loss rose from {start.loss:.3g} to {self.loss:.3g}"
        if self.spread < FLAT * start.spread:
            return "it says nearly the same of every image"
        if 0 <= self.value < min(start.value - FAR_WORSE_VALUE, NEAR_CHANCE):
            return f"its AUROC and AUPRO fell from {start.value:.0%} to {self.value:.0%}"
        return None


class Seen(NamedTuple):
    """An image: its category, label and score, the range of its map, and map and mask where a mask is known."""

    category: str
    label: int
    score: float
    map_range: float
    anomaly_map: npt.NDArray | None
    mask: npt.NDArray | None


@torch.no_grad()
def judge(
    model: nn.Module,
    processor: FBCLIPProcessor,
    images: DataLoader,
    accelerator: Accelerator,
    kind: str,
    epoch: int,
    step: int,
) -> Candidate:
    r"""
    Measures the model on all images of a loader, as if they were one batch.

    Args:
        model: as accelerate has prepared it.
        processor ([`FBCLIPProcessor`]): Sees each image whole, as the loader's batches do.
        kind: of the images' scores.
        epoch, step: of the candidate.

    Raises:
        `FloatingPointError`: The loss is not finite; the message names the images.
    """
    reader = copy.copy(processor)
    reader.score = kind
    sizes = torch.zeros(len(LOSS_PARTS), device=accelerator.device)
    sums, bad, mine = torch.zeros_like(sizes), [], []
    for batch in images:
        output = forward(model, batch)
        losses = loss_sums(output, batch)
        sizes, sums = sizes + sizes_of(batch), sums + losses
        if not (losses.isfinite().all() and output.image_scores.isfinite().all()):  # type: ignore[union-attr]
            bad += batch["path"]
        elif batch["counts"]:
            mine += [_seen(output, batch, index, reader) for index in range(len(batch["path"]))]
    if bad := gather_object(bad):
        raise FloatingPointError(f"the loss of judged images is not finite on {some_of(bad)}")
    loss = (accelerator.reduce(sums, "sum") / accelerator.reduce(sizes, "sum").clamp(min=1)).sum().item()
    everyones: list[Seen] = gather_object(mine)
    spread = max(np.ptp([image.score for image in everyones]), *(image.map_range for image in everyones))
    image_auroc, aupro = over_categories(everyones, auroc), over_categories(everyones, _aupro)
    return Candidate(epoch, step, loss, image_auroc, aupro, kind, float(spread))


def _seen(output: FBCLIPOutput, batch: Batch, index: int, reader: FBCLIPProcessor) -> Seen:
    score, anomaly_map = reader.score_and_map([one_output(output, index)], reader.image_size)
    mask, pixels = batch["mask_labels"][index].to("cpu", torch.int8), anomaly_map.numpy()
    seen = Seen(batch["category"][index], int(batch["labels"][index]), score, float(np.ptp(pixels)), None, None)
    return seen if (mask == IGNORE_INDEX).all() else seen._replace(anomaly_map=pixels, mask=mask.numpy())


def auroc(seen: list[Seen]) -> float | None:
    """Of the images' scores."""
    labels = np.array([image.label for image in seen], dtype=bool)
    scores = np.array([image.score for image in seen])
    return Ranking(scores[~labels], scores[labels]).auroc()


def _aupro(seen: list[Seen]) -> float | None:
    maps = [image.anomaly_map for image in seen if image.anomaly_map is not None]
    masks = [image.mask for image in seen if image.mask is not None]
    return RegionOverlap(maps, masks, pixel_ranking(maps, masks).normal).aupro() if maps else None


def over_categories(seen: list[Seen], metric: Callable[[list[Seen]], float | None]) -> float | None:
    """The mean over the categories that define a metric, as in an evaluation."""
    categories = defaultdict(list)
    for image in seen:
        categories[image.category].append(image)
    defined = [value for some in categories.values() if (value := metric(some)) is not None]
    return mean(defined) if defined else None
