"""VisA as released: `split_csv/1cls.csv` lists each image of `candle/Data/Images/` with its mask."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_fbclip.data.labels import label_by_column
from modeling_fbclip.data.tables import read_csv

from .base import Layout, Sample, file_inside, get, group_by_split

SPLIT_FILE = Path("split_csv", "1cls.csv")


def _find(root: Path) -> dict[str, list[str]]:
    listed_in = root / SPLIT_FILE
    if not listed_in.is_file():
        return {}
    rows = read_csv(listed_in)
    return group_by_split((get(row, "split", listed_in), get(row, "object", listed_in)) for row in rows)


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    listed_in = root / SPLIT_FILE
    rows = [row for row in read_csv(listed_in) if row["split"] == split]
    for category in categories:
        for row in (row for row in rows if row["object"] == category):
            image = file_inside(root, get(row, "image", listed_in), listed_in)
            mask = file_inside(root, row["mask"], listed_in) if row.get("mask") else None
            label = get(row, "label", listed_in)
            yield Sample(image, mask, label_by_column([label], "label", str(listed_in))[label], category)


VISA = Layout("visa", SPLIT_FILE.as_posix(), _find, _read, lists=("split_csv/*.csv",))
