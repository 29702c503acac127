"""The rows to train on, and the held-out rows."""

from collections import Counter
from collections.abc import Sequence

from datasets import Dataset

from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.training.held_out import hold_out
from modeling_fbclip.training.image_sources import image_sources

# So many images, and of each label, can judge a run.
FEWEST_IMAGES, FEWEST_OF_A_LABEL = 20, 8
DEFAULT_SHARE = 0.2


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


def default_share(labels: Sequence[int]) -> float:
    """The share that is held out unless another is asked for: 0.2, or 0 if there are too few images to judge by."""
    counts = Counter(labels)
    is_enough = len(labels) >= FEWEST_IMAGES and min(counts.values()) >= FEWEST_OF_A_LABEL
    return DEFAULT_SHARE if is_enough else 0.0


def split_rows(rows: Dataset, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """
    Indices of the rows to train on, and of the held-out rows: `fraction` of all rows, in equal shares of each
    category's good images and kinds of defects.

    Rows of one source ([`image_sources`]) and rows with the same pixels (column `digest`) are on one side. Each kind
    has a row to train on, and each label has rows on both sides; where that cannot be with all of this, sources no
    longer count, and then kinds. The result depends on the seed, and on the order of the rows only where they have
    neither digests nor paths.

    Raises:
        ValueError: no row would be held out, or a label would not be on both sides.
    """
    if fraction == 0:
        return list(range(len(rows))), []
    labels = list(rows["label"])
    categories, kinds, paths, digests = (_texts(rows, name) for name in ("category", "defect", "path", "digest"))
    names = [digest or path or str(index) for index, (digest, path) in enumerate(zip(digests, paths, strict=True))]
    groups = list(zip(categories, labels, kinds, strict=True))
    of_labels = [("", label, "") for label in labels]
    sources = _sources(categories, labels, kinds, paths)
    for groups_kept, together in ((groups, [digests, sources]), (groups, [digests]), (of_labels, [digests])):
        held_out = hold_out(groups_kept, together, names, fraction, seed)
        trained = [index for index in range(len(rows)) if index not in held_out]
        if {labels[index] for index in held_out} == {labels[index] for index in trained} == set(labels):
            return trained, sorted(held_out)
    raise ArgumentError(
        "validation_fraction",
        f"`validation_fraction` is {fraction}, which cannot split {len(rows)} images so that both parts have images "
        "of each label; use another.",
    )


def _texts(rows: Dataset, column: str) -> list[str]:
    """The values of a column; empty ones if there is none."""
    return [str(value or "") for value in rows[column]] if column in rows.column_names else [""] * len(rows)


def _sources(categories: list[str], labels: list[int], kinds: list[str], paths: list[str]) -> list[str]:
    """The source of each row with its category's name; empty where none is shown."""
    found = [""] * len(paths)
    for category in set(categories):
        indices = [index for index, other in enumerate(categories) if other == category]
        sources = image_sources(
            [paths[index] for index in indices], [labels[index] for index in indices], {category, *kinds}
        )
        for index, source in zip(indices, sources, strict=True):
            found[index] = "" if source is None else f"{category}/{source}"
    return found
