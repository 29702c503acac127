"""The kind of image score that a model trained without masks is used with."""

import copy
import logging

import torch
from accelerate.utils import gather_object
from torch import nn
from torch.utils.data import DataLoader

from modeling_fbclip.evaluation.ranking import Ranking
from modeling_fbclip.processing_fbclip import SCORES, FBCLIPProcessor
from modeling_fbclip.training.steps import forward

logger = logging.getLogger(__name__)

TRAINED_SCORE = "cls"  # the one that labels alone train
UNCALIBRATED = 0.5


@torch.no_grad()
def score_aurocs(model: nn.Module, processor: FBCLIPProcessor, held_out: DataLoader) -> dict[str, float]:
    """The AUROC of each kind of score on held-out images; empty if these are of one class only."""
    readers = {kind: copy.copy(processor) for kind in SCORES}
    mine: list[tuple[int, list[float]]] = []
    for kind, reader in readers.items():
        reader.score = kind
    for batch in held_out:
        output = forward(model, batch)
        scores = torch.stack([reader.image_scores(output) for reader in readers.values()], dim=1)
        mine += zip(batch["labels"].tolist(), scores.tolist(), strict=True) if batch["counts"] else []
    everyones = gather_object(mine)
    labels = torch.tensor([label for label, _ in everyones], dtype=torch.bool)
    scores = torch.tensor([values for _, values in everyones]).double().T  # a row a kind
    found = {
        kind: Ranking(row[~labels].numpy(), row[labels].numpy()).auroc()
        for kind, row in zip(SCORES, scores, strict=True)
    }
    return {kind: value for kind, value in found.items() if value is not None}


def take_score(processor: FBCLIPProcessor, aurocs: dict[str, float]) -> None:
    """
    Sets the processor's kind of score: the best on held-out images, else the one that was trained. Thresholds of
    another kind mean nothing for it, so they are set back.
    """
    before, best = processor.score, max(aurocs, key=lambda kind: aurocs[kind], default=TRAINED_SCORE)
    if best == before:
        return
    processor.score, processor.threshold, processor.category_thresholds = best, UNCALIBRATED, None
    processor.other_thresholds = processor.thresholds_mode = None
    logger.warning(
        "Without masks, the score of an image is now %s in place of %s; its threshold is %s until it is calibrated.",
        best,
        before,
        UNCALIBRATED,
    )
