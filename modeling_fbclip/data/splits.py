"""Which split and layout of a data set a command reads, if the user does not say."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modeling_fbclip.data.layouts import GOOD_ONLY, UnknownLayoutError
from modeling_fbclip.data.layouts.files import has_images
from modeling_fbclip.data.loading import find_folder, load_anomaly_dataset

if TYPE_CHECKING:
    from datasets import Dataset


class Chosen(NamedTuple):
    """
    A data set, and where its rows come from.

    Args:
        dataset: as from [`load_anomaly_dataset`].
        split: the name of the split.
        layout: the name of the layout that was given, or "good-only" for a folder of good images; else `None`.
        hub_id: its name if it is no folder.
    """

    dataset: "Dataset"
    split: str
    layout: str | None
    hub_id: str | None


def load_fitting_split(
    name_or_path: str,
    labels: Collection[int],
    split: str | None = None,
    layout: str | None = None,
    category: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Chosen:
    r"""
    Loads a data set for work that needs images of these labels, such as training. A folder that has images directly
    in it, and no labelled data set, is read as good images.

    Args:
        name_or_path, layout, category, columns: as for [`load_anomaly_dataset`].
        labels: 0 for normal images, 1 for anomalous ones.
        split: the split to read. By default "train" if it has images of all `labels`, else "test".

    Returns:
        [`Chosen`]: the data set, its split and its layout.

    Raises:
        `ValueError`: as from [`load_anomaly_dataset`].
    """
    if layout is None and not columns and _holds_good_images_only(Path(name_or_path)):
        layout = GOOD_ONLY.name
    load: Any = partial(load_anomaly_dataset, name_or_path, layout=layout, category=category, columns=columns)
    hub_id = None if Path(name_or_path).exists() else name_or_path
    if split is None:
        split = "test"
        try:
            train = load(split="train")
        except ValueError:  # no such split, or nothing of these categories in it; other mistakes are in "test" too
            pass
        else:
            if set(labels) <= set(train["label"]):
                return Chosen(train, "train", layout, hub_id)
    return Chosen(load(split=split), split, layout, hub_id)


def _holds_good_images_only(path: Path) -> bool:
    """Whether a folder has images directly in it and no labelled data set. ValueError if a list in it is damaged."""
    if not has_images(path):
        return False
    try:
        find_folder(path)
    except UnknownLayoutError:
        return True
    return False
