"""The training loop of all stages: seeded, resumable, with a bar and a log."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.detection.loading import computes_bfloat16

from .dataset import ProceduralImages, collate
from .muon import Muon
from .scenes import random_surface
from .settings import STAGE_OFFSETS, UNFAMILIAR_STAGES, Settings
from .unfamiliar import unfamiliar_surface

logger = logging.getLogger("modeling_fbclip.recipe")
SAVE_SECONDS = 60
LossFunction = Callable[[Any], dict[str, Tensor]]  # of a Batch


def autocast(device: str) -> torch.autocast:
    """bfloat16 matrix products if the device has them: twice as fast. Emulated, they are twenty times slower."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=computes_bfloat16(kind))


def images(settings: Settings, stage: str, size: int | None = None) -> ProceduralImages:
    """The images of one stage. `UNFAMILIAR_STAGES` have surfaces that the others do not have."""
    make_surface = unfamiliar_surface if stage in UNFAMILIAR_STAGES else random_surface
    return ProceduralImages(settings.seed * 1000 + STAGE_OFFSETS[stage], size or settings.image_size, make_surface)


def batches(dataset: ProceduralImages, first: int, steps: int, batch_size: int, workers: int) -> DataLoader:
    """Batches `first` … `steps` − 1 of an endless data set."""
    order = [range(step * batch_size, (step + 1) * batch_size) for step in range(first, steps)]
    return DataLoader(dataset, batch_sampler=order, collate_fn=collate, num_workers=workers)  # type: ignore[arg-type]


def learning_rate(step: int, cycle: int) -> float:
    """Share of the peak: linear warm-up over the first twentieth, then a cosine down to a hundredth.

    After `cycle` steps it restarts at half the height (warm restarts: Loshchilov & Hutter, 2017), so that a finished
    run can be continued.
    """
    height, step, warm = 0.5 ** (step // cycle), step % cycle, max(1, cycle // 20)
    if step < warm:
        return height * (step + 1) / warm
    return height * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, cycle - warm))))


def optimizers(module: nn.Module, peak: float) -> list[torch.optim.Optimizer]:
    """Muon (Jordan, 2024) at twice AdamW's rate for the matrices of the towers' blocks; AdamW for the rest."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (matrices if parameter.ndim == 2 and "encoder.layers" in name else rest).append(parameter)
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=peak, betas=(0.9, 0.98), weight_decay=0.02)]
    if matrices:
        found.append(Muon(matrices, lr=2 * peak, weight_decay=0.02))
    for group in (group for optimizer in found for group in optimizer.param_groups):
        group["peak"] = group["lr"]
    return found


def checkpoint(name: str, settings: Settings, work: Path) -> dict[str, Any] | None:
    """The saved state of a stage, if there is one.

    Raises:
        ValueError: If it is damaged, belongs to a run with other settings, or has more steps than the settings.
    """
    path = work / f"{name}.pt"
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: damaged ({reason}); delete it and the files of later stages") from error
    if state["settings"] != settings.record(name):
        raise ValueError(
            f"{path}: made with other settings; delete it and the files of later stages, or choose another --work"
        )
    if state["step"] > settings.steps(name):
        raise ValueError(f"{path}: has {state['step']} steps already; choose at least as many, or another --work")
    return state


def train(
    name: str, module: nn.Module, loss_function: LossFunction, dataset: ProceduralImages, settings: Settings,
    work: Path, batch_size: int, peak: float, workers: int, cycle: int | None = None,
) -> float:  # fmt: skip
    """Trains the parameters of `module` that require gradients, from the last checkpoint on. Returns all seconds.

    The learning rate has one cycle, or one every `cycle` steps.

    Raises:
        ValueError: See `checkpoint`.
    """
    steps = settings.steps(name)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    chosen = optimizers(module, peak)
    path, first, seconds = work / f"{name}.pt", 0, 0.0
    state = checkpoint(name, settings, work)
    if state is not None:
        module.load_state_dict(state["module"])
        for optimizer, kept in zip(chosen, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        first, seconds = state["step"], state["seconds"]
        logger.info("%s: resumed at step %d of %d", name, first, steps)
    started = saved = time.monotonic()

    def save(step: int) -> None:
        state = {"module": module.state_dict(), "step": step}
        state |= {"optimizers": [optimizer.state_dict() for optimizer in chosen]}
        state |= {"seconds": seconds + time.monotonic() - started, "settings": settings.record(name)}
        with written_aside(path) as aside:
            torch.save(state, aside)

    loader = batches(dataset, first, steps, batch_size, workers)
    for step, batch in enumerate(tqdm(loader, desc=name, initial=first, total=steps, mininterval=2), first):
        for group in (group for optimizer in chosen for group in optimizer.param_groups):
            group["lr"] = group["peak"] * learning_rate(step, cycle or steps)
        losses = loss_function({k: v.to(settings.device) if isinstance(v, Tensor) else v for k, v in batch.items()})
        module.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in chosen:
            optimizer.step()
        if step % 20 == 0 or step + 1 == steps:
            logger.info(
                "%s %d/%d %s", name, step + 1, steps, " ".join(f"{k} {v.item():.3f}" for k, v in losses.items())
            )
        if time.monotonic() - saved > SAVE_SECONDS and step + 1 < steps:
            save(step + 1)
            saved = time.monotonic()
    if first < steps:
        save(steps)
    return seconds + time.monotonic() - started
