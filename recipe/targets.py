"""The target of each patch, and its loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

FULL_SHARE = 0.25  # a patch with this share of anomalous pixels is fully anomalous


def patch_targets(mask: Tensor, patch_size: int) -> Tensor:
    """The target of each patch in [0, 1], (B, patches)."""
    share = F.avg_pool2d(mask.float()[:, None], patch_size).flatten(1)
    return (share / FULL_SHARE).clamp(max=1)


def patch_loss(logits: Tensor, share: Tensor) -> Tensor:
    """Cross entropy over patches; the rare anomalous ones count five times."""
    loss = F.binary_cross_entropy_with_logits(logits, share, reduction="none")
    weight = 1 + 4 * share
    return (loss * weight).sum() / weight.sum()
