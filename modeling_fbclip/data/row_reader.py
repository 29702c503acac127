"""A row of a data set that `datasets` reads, in our columns."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from datasets import ClassLabel, Features, Image, Value

from modeling_fbclip.data.decoding import marks_anything
from modeling_fbclip.data.labels import is_normal, label_by_column
from modeling_fbclip.data.layouts.base import ANOMALY, GOOD

UNLABELLED = -1


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


class RowReader(NamedTuple):
    """
    Turns the rows of a data set into ours.

    Args:
        features: the data set's columns.
        place: how paths begin, since an image in a table has no file.
        title: the category if there is no such column.
        normal: the value of the labels of normal images, if the user has named it.
        image, mask, label, category, defect: names of the columns to read.
    """

    features: Features
    place: str
    title: str
    normal: str | None
    image: str
    mask: str | None
    label: str | None
    category: str | None
    defect: str | None

    def describe(self, row: Mapping[str, Any], index: int, meaning: Mapping[str, int] | None = None) -> dict[str, Any]:
        """The values of a row without its pictures. `meaning` has the label of each value of its column."""
        path = f"{self.place}[{index}]"
        defect = self._text(row, self.defect)
        if self.label is not None:
            label = self._label(row, self.label, path, meaning)
        elif self.mask is not None:
            label = int(marks_anything(row[self.mask], path))
        elif self.defect is not None:
            self._require(row, self.defect, path)
            label = int(not is_normal(defect))
        else:
            label = UNLABELLED
        kind = GOOD if label == 0 else defect or ANOMALY
        return {"label": label, "category": self._text(row, self.category) or self.title, "defect": kind, "path": path}

    def whole_row(self, row: Mapping[str, Any], index: int, meaning: Mapping[str, int] | None) -> dict[str, Any]:
        """As `describe`, with the row's pictures."""
        pictures = {"image": row[self.image], "mask": row[self.mask] if self.mask else None}
        return pictures | self.describe(row, index, meaning)

    def described_by(self) -> list[str]:
        """The columns that `describe` reads."""
        columns = [self.label, self.category, self.defect, self.mask if self.label is None else None]
        return list(dict.fromkeys(column for column in columns if column is not None))

    def meaning(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, int] | None:
        """The label of each value of the column of labels in these rows."""
        if self.label is None:
            return None
        texts = [text for row in rows if (text := self._text(row, self.label)) is not None]
        return self._meaning(texts) if texts or isinstance(self.features[self.label], ClassLabel) else None

    def _label(self, row: Mapping[str, Any], column: str, path: str, meaning: Mapping[str, int] | None) -> int:
        text = self._require(row, column, path)
        return (meaning or self._meaning([text, *filter(None, [self.normal])]))[text]

    def _meaning(self, texts: list[str]) -> dict[str, int]:
        """All names of a class column count, whether there is an image of the class or not."""
        feature = self.features[self.label] if self.label else None
        names = [str(name) for name in feature.names] if isinstance(feature, ClassLabel) else []
        return label_by_column([*texts, *names], str(self.label), self.place, self.normal)

    def _require(self, row: Mapping[str, Any], column: str, path: str) -> str:
        text = self._text(row, column)
        if text is None:
            raise ValueError(f"{path}: has no label, its {column!r} is {row[column]}; add a label or remove the row.")
        return text

    def _text(self, row: Mapping[str, Any], column: str | None) -> str | None:
        """The value of a column as text; `None` without a column or a value. Unlabelled splits have -1."""
        if column is None or row[column] is None or row[column] == -1 or row[column] != row[column]:
            return None
        feature, value = self.features[column], row[column]
        if isinstance(value, list):
            return "+".join(map(str, value)) or None
        return str(feature.int2str(value) if isinstance(feature, ClassLabel) else value)
