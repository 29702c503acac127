"""Layouts of data sets on a disk, one file each, and how the layout of a folder is recognised."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.files_fbclip import shortened

from .base import GOOD, ROOT_CATEGORY, Layout, Sample, on_one_line
from .beside import BESIDE
from .coco import COCO
from .dagm import DAGM
from .files import folders_in
from .good_only import GOOD_ONLY
from .head_ct import HEAD_CT
from .image_mask import IMAGE_MASK
from .kolektor import KOLEKTOR
from .labelme import LABELME
from .meta_json import META_JSON
from .metadata import METADATA
from .mvtec import MVTEC
from .mvtec_ad2 import MVTEC_AD2
from .mvtec_loco import MVTEC_LOCO
from .plain import PLAIN
from .real_iad import REAL_IAD
from .table import TABLE, table_layout, tables_in
from .visa import VISA
from .yes_no import YES_NO

# The first that fits is taken: lists before folders, specific names before general ones. A user must name the last.
RECOGNISED = (
    *(META_JSON, METADATA, VISA, REAL_IAD, DAGM, MVTEC_AD2, MVTEC_LOCO, MVTEC, YES_NO, IMAGE_MASK, HEAD_CT, KOLEKTOR),
    *(PLAIN, COCO, LABELME, TABLE, BESIDE),
)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (*RECOGNISED, GOOD_ONLY)}
# How many folders an archive may have wrapped around a data set.
MAX_WRAPPERS = 3
MAX_TABLES = 2  # in a message


class UnknownLayoutError(ValueError):
    """No layout fits a folder."""


class Folder(NamedTuple):
    """A folder whose layout is known."""

    layout: Layout
    root: Path
    name: str
    splits: Mapping[str, Sequence[str]]

    def title(self, category: str) -> str:
        """What users call a category."""
        return self.name if category == ROOT_CATEGORY else category

    def samples(self, split: str, categories: Sequence[str]) -> Iterator[Sample]:
        """The samples of some categories of a split, category by category, in a fixed order."""
        with on_one_line():
            for sample in self.layout.read(self.root, split, categories):
                defect = sample.defect if sample.label else GOOD
                yield sample._replace(category=self.title(sample.category), defect=defect)


@on_one_line()
def recognise(path: Path, layout: str | None = None, columns: Mapping[str, str] | None = None) -> Folder:
    """
    Finds the layout of a folder, or of the only folder in it, and so on. If several fit, the first of `LAYOUTS` is
    taken.

    Args:
        path: the folder.
        layout: the name of the layout, if the user has named it.
        columns: names of columns, which are those of the layout `"table"`.

    Raises:
        UnknownLayoutError: if no layout fits.
        ArgumentError: if there is no layout of the name that is given, or it does not fit.
        ValueError: if a list in the folder is damaged.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ArgumentError("layout", f"layout={layout!r} is none of {', '.join(LAYOUTS)}.")
    candidates = [named_layout(layout, columns)] if layout or columns else RECOGNISED
    for root in _unwrap(path):
        for candidate in candidates:
            splits = {split: categories for split, categories in candidate.find(root).items() if categories}
            if splits:
                return Folder(candidate, root, path.absolute().name, splits)
    looked_for = "; ".join(candidate.looks_like for candidate in candidates)
    listed = list(tables_in(path).items())[:MAX_TABLES]
    tables = [shortened(f"{file.relative_to(path)}: {', '.join(rows[0])}") for file, rows in listed]
    if layout:
        advice = "Leave the layout out to have it recognised."
    elif tables:
        has = f"The tables in it have these columns: {'; '.join(tables)}"
        advice = f"{has}; say which is which by columns (--columns image=COLUMN,label=COLUMN,normal=VALUE)."
    elif columns:
        advice = "There is no table in it."
    else:
        advice = "Put normal images into a folder good/ in it, and each kind of defect into a folder beside good/."
    problem = f"{path}: no data set found. {advice} Looked for {looked_for}."
    raise ArgumentError("layout", problem) if layout else UnknownLayoutError(problem)


def named_layout(name: str | None, columns: Mapping[str, str] | None = None) -> Layout:
    """The layout of a name; with columns, that of a table."""
    if not columns:
        return LAYOUTS[str(name)]
    if name not in (None, TABLE.name):
        raise ValueError(f"layout={name!r} has no columns to name; leave one of the two out.")
    return table_layout(columns)


def _unwrap(path: Path) -> Iterator[Path]:
    """The folder, the only folder in it, the only folder in that."""
    for _ in range(MAX_WRAPPERS + 1):
        yield path
        inner = folders_in(path)
        if len(inner) != 1:
            return
        (path,) = inner
