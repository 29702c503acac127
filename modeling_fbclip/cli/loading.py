"""Data sets by what a user writes for DATA."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from modeling_fbclip.common.messages import one_line

if TYPE_CHECKING:
    from datasets import Dataset


def load_data(
    data: str, split: str, category: list[str] | None, layout: str | None, streaming: bool = False
) -> "Dataset":
    """
    A labelled data set by its folder or Hub id; an `IterableDataset` if it is to be streamed.

    Raises:
        typer.BadParameter: if it cannot be read, or a library for it is missing.
    """
    try:
        from modeling_fbclip.data import load_anomaly_dataset

        dataset: Any = load_anomaly_dataset(data, split=split, layout=layout, category=category, streaming=streaming)
        return dataset
    except (ImportError, OSError, ValueError) as error:
        raise typer.BadParameter(one_line(error), param_hint="DATA") from error


def holds_good_images_only(data: str) -> bool:
    """
    Whether a folder has images in itself and is no labelled data set: for commands that need good images alone.

    Raises:
        typer.BadParameter: if it cannot be read, or a library for it is missing.
    """
    try:
        from modeling_fbclip.data.layouts import UnknownLayoutError
        from modeling_fbclip.data.layouts.base import has_images
        from modeling_fbclip.data.loading import find_folder

        if not has_images(Path(data)):
            return False
        try:
            find_folder(data)
        except UnknownLayoutError:
            return True
    except (ImportError, OSError, ValueError) as error:
        raise typer.BadParameter(one_line(error), param_hint="DATA") from error
    return False
