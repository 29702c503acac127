"""One optimiser step. Its result does not depend on the number of processes."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from modeling_fbclip.loss_fbclip import IGNORE_INDEX
from modeling_fbclip.modeling_fbclip import FBCLIPOutput

Batch = dict[str, Any]
LOSS_PARTS = ("image_focal", "mask_focal", "dice", "consistency")
NAMED = 2  # images in a message
MODEL_INPUTS = ("pixel_values", "layer_tokens", "grid", "labels", "mask_labels")


def training_step(
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    batches: list[Batch],
    accelerator: Accelerator,
    max_grad_norm: float | None,
) -> tuple[dict[str, float], int]:
    r"""
    One optimiser step on the images of all `batches` of all processes.

    Returns:
        `tuple[dict[str, float], int]`: `loss` and its parts, as means over these images, and the number of images.

    Raises:
        `FloatingPointError`: The loss is not finite. No weight has changed; the message names the images.
    """
    sizes = accelerator.reduce(torch.stack([sizes_of(batch) for batch in batches]).sum(dim=0), "sum")
    losses = torch.zeros_like(sizes)
    optimizer.zero_grad()
    for number, batch in enumerate(batches, start=1):
        # Processes exchange gradients once a step, after its last part.
        with nullcontext() if number == len(batches) else accelerator.no_sync(model):
            output = forward(model, batch)
            shares = loss_sums(output, batch) / sizes.clamp(min=1)
            everyones = accelerator.reduce(shares.detach(), "sum")
            if not everyones.isfinite().all():
                _stop(output, batch, everyones)
            accelerator.backward(shares.sum() * accelerator.num_processes)  # gradients are averaged over processes
        losses += everyones
    if max_grad_norm is not None:
        accelerator.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    scheduler.step()
    return _named(losses), int(sizes[0])


def check_weights(model: nn.Module) -> None:
    """FloatingPointError if a trained weight is not finite. The loss of the last step may have been finite."""
    trained = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    if bad := [name for name, weight in trained if not weight.isfinite().all()]:
        raise FloatingPointError(f"weights are not finite ({', '.join(bad)})")


def forward(model: nn.Module, batch: Batch) -> FBCLIPOutput:
    """The model's output for a batch, with the losses."""
    return model(**{name: batch[name] for name in MODEL_INPUTS if name in batch})


def sizes_of(batch: Batch) -> Tensor:
    """For each part of the loss the number of images in its mean, `(4,)`: all images, or those with a mask."""
    masks: Tensor = batch["mask_labels"]
    images = batch["counts"] * masks.new_ones(len(masks))
    with_mask = images * (masks != IGNORE_INDEX).flatten(1).any(dim=1)
    return torch.stack([images.sum(), with_mask.sum(), with_mask.sum(), images.sum()])


def loss_sums(output: FBCLIPOutput, batch: Batch) -> Tensor:
    """The parts of the loss, summed over the images, `(4,)`."""
    means = [output.image_focal_loss, output.mask_focal_loss, output.dice_loss, output.consistency_loss]
    return torch.stack(means).float() * sizes_of(batch)  # type: ignore[arg-type]


def _named(losses: Tensor) -> dict[str, float]:
    parts = dict(zip(LOSS_PARTS, losses.tolist(), strict=True))
    return {"loss": losses.sum().item()} | parts


def some_of(paths: Sequence[str]) -> str:
    """The first of them, and how many more."""
    named = ", ".join(paths[:NAMED])
    return named if len(paths) <= NAMED else f"{named} and {len(paths) - NAMED} more"


def _stop(output: FBCLIPOutput, batch: Batch, losses: Tensor) -> None:
    """Raises, naming the images whose scores are not finite, or all images if all scores are finite."""
    finite = output.image_scores.isfinite() & output.anomaly_maps.flatten(1).isfinite().all(dim=1)  # type: ignore
    bad = [path for path, good in zip(batch["path"], finite.tolist(), strict=True) if not good]
    gathered = gather_object([(bad, batch["path"])])
    paths = [path for some, _ in gathered for path in some] or [path for _, every in gathered for path in every]
    parts = ", ".join(f"{name} {value}" for name, value in _named(losses).items())
    raise FloatingPointError(f"the loss is not finite ({parts}) on {some_of(paths)}")
