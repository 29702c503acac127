"""Which split of a data set a command reads, if the user does not say."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from modeling_fbclip.data.loading import load_anomaly_dataset

if TYPE_CHECKING:
    from datasets import Dataset


def load_fitting_split(
    name_or_path: str,
    labels: Collection[int],
    split: str | None = None,
    layout: str | None = None,
    category: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple["Dataset", str]:
    r"""
    Loads a data set for work that needs images of these labels, such as training.

    Args:
        name_or_path, layout, category, columns: as for [`load_anomaly_dataset`].
        labels: 0 for normal images, 1 for anomalous ones.
        split: the split to read. By default "train" if it has images of all `labels`, else "test".

    Returns:
        `tuple[Dataset, str]`: the data set, and the name of the split.

    Raises:
        `ValueError`: as from [`load_anomaly_dataset`].
    """
    if split is None:
        try:
            train = load_anomaly_dataset(
                name_or_path, split="train", layout=layout, category=category, columns=columns
            )
        except ValueError:  # no such split, or nothing of these categories in it; other mistakes are in "test" too
            split = "test"
        else:
            if set(labels) <= set(train["label"]):
                return train, "train"
            split = "test"
    return load_anomaly_dataset(name_or_path, split=split, layout=layout, category=category, columns=columns), split
