"""Data sets that `datasets` reads, from the Hub or from tables on a disk: renames their columns to ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import (
    ClassLabel,
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
from modeling_fbclip.data.decoding import marks_anything
from modeling_fbclip.data.layouts.base import ANOMALY, GOOD, is_normal

# Names that other data sets give to our columns, the most likely first. The image column may have any name.
COLUMN_NAMES = {
    "image": ("image",),
    "mask": ("mask", "ground_truth", "gt", "segmentation", "seg_mask", "annotation"),
    "label": ("label", "labels", "anomaly", "is_anomaly"),
    "category": ("category", "cls_name", "object"),
    "defect": ("defect", "defect_type", "specie_name", "anomaly_class"),
}


def row_features() -> Features:
    """The columns of every data set that is loaded here."""
    return Features(
        {
            "image": Image(),
            "mask": Image(),
            "label": ClassLabel(names=["normal", "anomalous"]),
            "category": Value("string"),
            "defect": Value("string"),
            "path": Value("string"),
        }
    )


class _Reader(NamedTuple):
    """
    Turns the rows of a data set into ours.

    Args:
        features: the data set's columns.
        place: how paths begin, since an image in a table has no file.
        title: the category if there is no such column.
        image, mask, label, category, defect: names of the columns to read.
    """

    features: Features
    place: str
    title: str
    image: str
    mask: str | None
    label: str | None
    category: str | None
    defect: str | None

    def describe(self, row: Mapping[str, Any], index: int) -> dict[str, Any]:
        """The values of a row without its pictures."""
        path = f"{self.place}[{index}]"
        if self.label is not None:
            label = self._label(row, self.label, path)
        elif self.mask is not None:
            label = int(marks_anything(row[self.mask], path))
        else:
            label = 0 if self.defect is None else self._label(row, self.defect, path)
        defect = self._text(row, self.defect) or ANOMALY
        category = self._text(row, self.category) or self.title
        return {"label": label, "category": category, "defect": defect if label else GOOD, "path": path}

    def whole_row(self, row: Mapping[str, Any], index: int) -> dict[str, Any]:
        return {"image": row[self.image], "mask": row[self.mask] if self.mask else None} | self.describe(row, index)

    def described_by(self) -> list[str]:
        """The columns that `describe` reads."""
        columns = [self.label, self.category, self.defect, self.mask if self.label is None else None]
        return list(dict.fromkeys(column for column in columns if column is not None))

    def _label(self, row: Mapping[str, Any], column: str, path: str) -> int:
        text = self._text(row, column)
        if text is None:
            raise ValueError(f"{path}: has no label, its {column!r} is {row[column]}; add a label or remove the row.")
        return int(not is_normal(text))

    def _text(self, row: Mapping[str, Any], column: str | None) -> str | None:
        """The value of a column as text; `None` without a column or a value. Unlabelled splits have -1."""
        if column is None or row[column] is None or row[column] == -1 or row[column] != row[column]:
            return None
        feature = self.features[column]
        return str(feature.int2str(row[column]) if isinstance(feature, ClassLabel) else row[column])


def load_columns(
    name: str,
    split: str,
    categories: Sequence[str] | None,
    streaming: bool,
    given: Mapping[str, str],
    options: Mapping[str, Any],
) -> Dataset | IterableDataset:
    """A split of a Hub data set or of a folder of tables; ValueError if it cannot be read."""
    dataset = _load(name, split, streaming, options)
    if dataset.features is None:
        raise ValueError(f"{name}: cannot be streamed, as it does not state its columns; load it without streaming.")
    reader = _reader(name, split, dataset.features, given)
    for column in filter(None, (reader.image, reader.mask)):
        dataset = dataset.cast_column(column, Image(decode=False))
    if isinstance(dataset, IterableDataset):
        rows = dataset.map(reader.whole_row, with_indices=True, remove_columns=list(dataset.features))
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
                raise ArgumentError("split", f"{name}: has no split {split!r}, but {has}.")
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


def _reader(name: str, split: str, features: Features, given: Mapping[str, str]) -> _Reader:
    """A reader of the given columns, and of those with a usual name."""
    for ours, theirs in given.items():
        if ours not in COLUMN_NAMES or theirs not in features:
            raise ValueError(f"{name}: columns={{{ours!r}: {theirs!r}}}, but it has {', '.join(features)}.")
    pictures = [column for column, feature in features.items() if isinstance(feature, Image)]
    found: dict[str, str | None] = {
        ours: given.get(ours)
        or next((column for column in names if column in features and (ours != "mask" or column in pictures)), None)
        for ours, names in COLUMN_NAMES.items()
    }
    others = [column for column in pictures if column != found["mask"]]
    image = found.pop("image") or next(iter(others), None)
    if image is None or image not in pictures:
        raise ValueError(f"{name}: has no column of images; its columns are {', '.join(features)}.")
    return _Reader(features, f"{name}/{split}", name.rstrip("/").split("/")[-1], image, **found)


def _add_descriptions(dataset: Dataset, reader: _Reader) -> Dataset:
    """Adds our columns to the images. The images are neither read nor copied."""
    read = reader.described_by()
    described = dataset.select_columns(read) if read else [{}] * len(dataset)
    descriptions = [reader.describe(row, index) for index, row in enumerate(described)]
    pictures = {reader.image: "image"} | ({reader.mask: "mask"} if reader.mask else {})
    rows = dataset.select_columns(list(pictures)).rename_columns(pictures)
    features = row_features()
    if reader.mask is None:
        rows = rows.add_column("mask", [None] * len(rows), feature=features["mask"])
    for name in ("label", "category", "defect", "path"):
        rows = rows.add_column(name, [row[name] for row in descriptions], feature=features[name])
    return rows.cast_column("image", features["image"]).cast_column("mask", features["mask"])
