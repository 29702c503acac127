"""Measures on held-out procedural images."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from torch import Tensor


def auroc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve; ties count half. 0.5 if there is only one class."""
    values, positive = scores.numpy(), labels.numpy().astype(bool)
    pairs = int(positive.sum()) * int((~positive).sum())
    if pairs == 0:
        return 0.5
    count = int(positive.sum())
    return float((np.asarray(rankdata(values))[positive].sum() - count * (count + 1) / 2) / pairs)
