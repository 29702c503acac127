"""Muon in float32. torch's own Muon iterates in bfloat16, which is slow on a CPU without bfloat16 instructions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)  # a quintic with a steep slope at zero
ITERATIONS = 5
MOMENTUM = 0.95
ADAMW_RMS = 0.2  # of a step, as with AdamW, for the same rate and decay (Liu et al., "Muon is Scalable", 2025)


class Muon(torch.optim.Optimizer):
    """Momentum; the step of each matrix has singular values near one (Jordan, 2024)."""

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:  # type: ignore[override] # noqa: ARG002
        for group in self.param_groups:
            for shape in sorted({parameter.shape for parameter in group["params"]}):
                alike = [each for each in group["params"] if each.shape == shape and each.grad is not None]
                if alike:
                    self._step(alike, group["lr"], group["weight_decay"])

    def _step(self, alike: list[nn.Parameter], rate: float, decay: float) -> None:
        """One step of all matrices of one shape, as a batch."""
        updates = []
        for parameter in alike:
            gradient = parameter.grad
            assert gradient is not None
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(gradient)
            momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            updates.append(gradient.lerp(momentum, MOMENTUM))
        adjusted = rate * ADAMW_RMS * math.sqrt(max(alike[0].shape))
        for parameter, update in zip(alike, orthogonal(torch.stack(updates)), strict=True):
            parameter.mul_(1 - rate * decay).sub_(update, alpha=adjusted)


def orthogonal(matrices: Tensor) -> Tensor:
    """Moves the singular values of each matrix of `(K, rows, columns)` to between about 0.7 and 1.2."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
