"""The rows to train on, and the held-out rows."""

from collections import defaultdict

import numpy as np
from datasets import Dataset

from modeling_fbclip.common.messages import ArgumentError


def trainable_rows(dataset: Dataset, synthetic: bool) -> Dataset:
    """All rows, or only the normal ones if anomalies are `synthetic`. ValueError if they cannot be trained on."""
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"`dataset` is a {type(dataset).__name__}, but must be a datasets.Dataset, not a stream: "
            "the number of steps depends on its length."
        )
    missing = {"image", "label"} - set(dataset.column_names)
    if missing:
        raise ValueError(f"`dataset` has no column {' and none '.join(sorted(missing))}; see load_anomaly_dataset.")
    labels = list(dataset["label"])
    if set(labels) - {0, 1}:
        raise ValueError(f"`label` has the values {sorted(set(labels), key=str)}, but must be 0 (normal) or 1.")
    if not synthetic and 1 not in labels:
        raise ArgumentError(
            "synthetic", "None of the images is anomalous, so there is nothing to learn; train with `synthetic`."
        )
    if synthetic and 0 not in labels:
        raise ValueError("None of the images is normal, and `synthetic` anomalies are made from normal images.")
    return dataset.select([i for i, label in enumerate(labels) if label == 0]) if synthetic else dataset


def split_rows(rows: Dataset, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """
    Indices of the rows to train on, and of the held-out rows: `fraction` of each category's normal and anomalous
    images. ValueError if no row would be held out, or no row of a label be left to train on.
    """
    labels = list(rows["label"])
    if fraction == 0:
        return list(range(len(rows))), []
    categories = [str(name) for name in rows["category"]] if "category" in rows.column_names else [""] * len(rows)
    groups = defaultdict(list)
    for index, group in enumerate(zip(categories, labels, strict=True)):
        groups[group].append(index)
    rng = np.random.default_rng(seed)
    held_out: set[int] = set()
    for _, indices in sorted(groups.items()):
        held_out.update(rng.permutation(indices)[: round(len(indices) * fraction)].tolist())
    trained = [index for index in range(len(rows)) if index not in held_out]
    if not held_out or not {labels[index] for index in trained} == set(labels):
        raise ArgumentError(
            "validation_fraction",
            f"`validation_fraction` is {fraction}, which cannot split {len(rows)} images; use another.",
        )
    return trained, sorted(held_out)
