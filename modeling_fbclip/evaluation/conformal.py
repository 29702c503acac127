"""Thresholds from normal scores alone, by split conformal prediction."""

import math

import numpy as np

from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.evaluation.ranking import FloatArray

ROUNDING = 1e-6  # a score may differ by this much with the other images of its batch


def images_needed(target_fpr: float) -> int:
    r"""
    The smallest number of normal images for a conformal threshold. With fewer images, even the highest score is not
    enough: a new image exceeds all `n` others with a probability of 1 / (n + 1).

    Raises:
        `ValueError`: The rate is not between 0 and 1.

    Example:

    ```python
    >>> images_needed(0.01)
    99
    ```"""
    if not 0 < target_fpr < 1:
        raise ArgumentError("target_fpr", f"`target_fpr` is {target_fpr}, but must be above 0 and below 1.")
    return math.ceil(round(1 / target_fpr, 9)) - 1


def require_enough(count: int, target_fpr: float) -> None:
    """Raises ValueError if so many normal images are too few for the rate."""
    needed = images_needed(target_fpr)
    if count < needed:
        enough = f", or a rate of {1 / (count + 1):.4g} or above" if count else ""
        raise ValueError(
            f"{count} normal images are too few for a false positive rate of {target_fpr:g}, which needs {needed}; "
            f"pass more{enough}."
        )


def conformal_threshold(scores: FloatArray, target_fpr: float) -> float:
    r"""
    The threshold that a new normal score from the same source reaches with a probability of at most `target_fpr`. By
    split conformal prediction (Vovk et al., 2005), it is just above the ⌈(n + 1)(1 − target_fpr)⌉-th lowest of the n
    given scores. The probability is over the draw of these and of the new one.

    Args:
        scores (`np.ndarray` of shape `(num_images,)`): Scores of normal images, in `[0, 1]`.
        target_fpr (`float` in `(0, 1)`): The highest allowed false positive rate.

    Raises:
        `ValueError`: There are too few scores for the rate, or too many of them are 1.
    """
    require_enough(len(scores), target_fpr)
    # Rounded, because (99 + 1)(1 - 0.01) is above 99 in floating point.
    rank = math.ceil(round((len(scores) + 1) * (1 - target_fpr), 9))
    highest_normal = float(np.sort(scores)[rank - 1])
    if highest_normal >= 1:
        raise ValueError(
            f"More than {target_fpr:g} of the normal images have the highest possible score of 1; no threshold "
            "separates them from anomalous ones. Fine-tune the model on such images first."
        )
    return min(highest_normal + ROUNDING, 1.0)
