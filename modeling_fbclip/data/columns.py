"""Data sets that `datasets` reads, from the Hub or from tables on a disk: renames their columns to ours."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import (
    Dataset,
    DatasetDict,
    Features,
    Image,
    IterableDataset,
    Value,
    get_dataset_split_names,
    load_dataset,
    load_from_disk,
)
from datasets.exceptions import DatasetGenerationError, DatasetsError

from modeling_fbclip.common.hub import asking_hub
from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.data.column_names import COLUMN_NAMES, NORMAL, choose_columns
from modeling_fbclip.data.labels import REMEDY
from modeling_fbclip.data.row_reader import RowReader, row_features


def load_columns(
    name: str,
    split: str,
    categories: Sequence[str] | None,
    streaming: bool,
    given: Mapping[str, str],
    labelled: bool,
    options: Mapping[str, Any],
) -> Dataset | IterableDataset:
    """A split of a Hub data set or of a folder of tables; ValueError if it cannot be read. See `load_anomaly_dataset`.
    A word that is not known is a kind of defect only if all rows are at hand, not in a stream."""
    dataset = _load(name, split, streaming, options)
    if dataset.features is None:
        raise ValueError(f"{name}: cannot be streamed, as it does not state its columns; load it without streaming.")
    reader = _reader(name, split, dataset.features, given, labelled)
    for column in filter(None, (reader.image, reader.mask)):
        dataset = dataset.cast_column(column, Image(decode=False))
    if isinstance(dataset, IterableDataset):
        whole_row = partial(reader.whole_row, meaning=reader.meaning([]))
        rows = dataset.map(whole_row, with_indices=True, remove_columns=list(dataset.features))
        if categories is not None:
            rows = rows.filter(categories.__contains__, input_columns="category")
        return rows.cast(row_features())
    rows = _add_descriptions(dataset, reader)
    if categories is None:
        return rows
    if missing := sorted(set(categories) - set(rows["category"])):
        known = ", ".join(dict.fromkeys(rows["category"]))
        raise ArgumentError("category", f"{name}: has no category {missing[0]!r} in {split!r}, but {known}.")
    return rows.select([index for index, category in enumerate(rows["category"]) if category in categories])


def split_names(name: str) -> list[str]:
    """The splits of a Hub data set or of a folder of tables."""
    if (saved := _load_saved(name)) is not None:
        return list(saved)
    return get_dataset_split_names(name)


def _load_saved(name: str) -> DatasetDict | None:
    """A folder written by `save_to_disk`; `None` for any other. A single data set is the split test."""
    if not any(Path(name, file).is_file() for file in ("dataset_dict.json", "state.json")):
        return None
    saved = load_from_disk(name)
    return saved if isinstance(saved, DatasetDict) else DatasetDict(test=saved)


def _load(name: str, split: str, streaming: bool, options: Mapping[str, Any]) -> Dataset | IterableDataset:
    try:
        if (saved := _load_saved(name)) is not None:
            if split not in saved:
                has = ", ".join(map(repr, saved))
                raise ArgumentError("split", f"{name}: cannot be loaded (has no split {split!r}, but {has}).")
            return saved[split].to_iterable_dataset() if streaming else saved[split]
        if Path(name).is_dir():
            return load_dataset(name, split=split, streaming=streaming, **options)
        with asking_hub(name):
            return load_dataset(name, split=split, streaming=streaming, **options)
    except ArgumentError:
        raise
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        cause = (isinstance(error, DatasetGenerationError) and error.__cause__) or error
        reason = " ".join(str(cause).split()).rstrip(".")
        raise ValueError(f"{name}: cannot be loaded ({reason}).") from error


def _reader(name: str, split: str, features: Features, given: Mapping[str, str], labelled: bool) -> RowReader:
    """A reader of the given columns, and of those with a usual name."""
    pictures = [column for column, feature in features.items() if _is_picture(feature)]
    found = choose_columns(name, features, given)
    for ours in ("image", "mask"):
        if ours not in given and found[ours] not in pictures:
            found[ours] = next((column for column in COLUMN_NAMES[ours] if column in pictures), None)
    others = [column for column in pictures if column != found["mask"]]
    image = found.pop("image") or next(iter(others), None)
    if image is None or image not in pictures:
        raise ValueError(f"{name}: has no column of images; its columns are {', '.join(features)}.")
    if labelled and not any(found[ours] for ours in ("label", "mask", "defect")):
        raise ValueError(f"{name}: has no column of labels or masks, but {', '.join(features)}; {REMEDY}.")
    title = name.rstrip("/").split("/")[-1]
    return RowReader(features, f"{name}/{split}", title, given.get(NORMAL), image, **found)


def _is_picture(feature: object) -> bool:
    """Whether a column holds pictures, or the bytes of files: of other libraries' tables, that is all it says."""
    holds_files = isinstance(feature, Mapping) and set(feature) == {"bytes", "path"}
    return isinstance(feature, Image) or feature == Value("binary") or holds_files


def _add_descriptions(dataset: Dataset, reader: RowReader) -> Dataset:
    """Adds our columns to the images. The images are neither read nor copied."""
    read = reader.described_by()
    described = dataset.select_columns(read) if read else [{}] * len(dataset)
    meaning = reader.meaning(dataset.select_columns(reader.label)) if reader.label else None
    descriptions = [reader.describe(row, index, meaning) for index, row in enumerate(described)]
    pictures = {reader.image: "image"} | ({reader.mask: "mask"} if reader.mask else {})
    rows = dataset.select_columns(list(pictures)).rename_columns(pictures)
    features = row_features()
    if reader.mask is None:
        rows = rows.add_column("mask", [None] * len(rows), feature=features["mask"])
    for name in ("label", "category", "defect", "path"):
        rows = rows.add_column(name, [row[name] for row in descriptions], feature=features[name])
    return rows.cast_column("image", features["image"]).cast_column("mask", features["mask"])
