"""Any anomaly data set as rows of image, mask, label, category, defect and path."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_fbclip.common.hub import is_hub_id
from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.common.own_results import is_marked, is_result
from modeling_fbclip.data.layouts import Folder, UnknownLayoutError, named_layout, recognise
from modeling_fbclip.data.layouts.base import DrawnMask, on_one_line
from modeling_fbclip.data.registry import KNOWN_DATASETS

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


@on_one_line()
def load_anomaly_dataset(
    name_or_path: str | Path,
    split: str = "test",
    *,
    layout: str | None = None,
    category: str | Sequence[str] | None = None,
    streaming: bool = False,
    columns: Mapping[str, str] | None = None,
    labelled: bool = True,
    **options: Any,
) -> "Dataset | IterableDataset":
    r"""
    Loads an anomaly data set of any known layout. A file is opened only when its row is read, so the images need not
    fit into memory.

    The layout of a folder is the first that fits of: `meta.json` of the released code, `imagefolder` metadata,
    VisA's split file, Real-IAD's JSON, DAGM's `Label` folders, MVTec AD 2's, MVTec LOCO's, MVTec's, `yes` and `no`,
    images and masks, HeadCT's `labels.csv`, KolektorSDD's, a plain `good` with other folders, polygons in a COCO file
    or in LabelMe's, a table of files with labels, and masks beside images. Names compare without case. The data set
    may lie in a folder inside the folder, as archives often have it. A data set on the Hub and a folder of tables with
    pictures are read by `datasets.load_dataset`.

    Args:
        name_or_path (`str` or `Path`):
            A folder, or a data set's name on the Hub (`user/name`) with an image column.
        split (`str`, *optional*, defaults to `"test"`):
            `"test"`, `"train"`, `"validation"`, or any split of a Hub data set. A folder without splits is all
            `"test"`.
        layout (`str`, *optional*):
            The name of the folder's layout. By default it is recognised, except for `"good-only"`: the images that
            lie in the folder itself, all of them normal.
        category (`str` or sequence of `str`, *optional*):
            The categories to load. Defaults to all.
        streaming (`bool`, *optional*, defaults to `False`):
            Returns an `IterableDataset` with the same rows. It lists the files while it is read. Its shards are the
            categories.
        columns (mapping of `str` to `str`, *optional*):
            For tables: the names of their columns for `"image"`, `"mask"`, `"label"`, `"category"` and `"defect"`,
            and as `"normal"` the value of the labels of normal images. By default a column of that name or of a usual
            one, such as `"ground_truth"`; for the image also the first column of images.
        labelled (`bool`, *optional*, defaults to `True`):
            Whether a table must say which images are anomalous. If not, all labels of one that does not are -1.
        options:
            Passed on to `datasets.load_dataset` (`name`, `revision`, `token` …).

    Returns:
        `datasets.Dataset` or `datasets.IterableDataset` with the columns `image`; `mask` (an image or `None`, with the
        file's own values: [`FBCLIPProcessor`] and `load_mask` read 0/1, 0/255 and palettes); `label` (0 normal,
        1 anomalous); `category`; `defect` (`"good"` if normal, `"anomaly"` if its kind is unknown); `path`. Without a
        label column, an image is anomalous if its mask marks a pixel.

    Raises:
        `ValueError`: If there is no such folder, layout, split, category or column, if it is not known what a label
        means, or if a list in the data set names a file outside it.
        `ImportError`: If the `datasets` library is not installed.
    """
    _require_datasets()
    wanted = [category] if isinstance(category, str) else category
    folder = find_folder(name_or_path, layout, columns)
    if folder is None:
        from modeling_fbclip.data.columns import load_columns

        return load_columns(str(name_or_path), split, wanted, streaming, columns or {}, labelled, options)
    if options:
        given = ", ".join(options)
        raise ValueError(f"{name_or_path}: {given} cannot be given for a folder of images; leave it out.")
    return _build(folder, split, _choose(folder, name_or_path, split, wanted), streaming, columns)


def find_folder(
    name_or_path: str | Path, layout: str | None = None, columns: Mapping[str, str] | None = None
) -> Folder | None:
    """
    A data set as a folder of image files. `None` if `datasets.load_dataset` reads it: from the Hub, or a folder of
    tables.

    Raises:
        ValueError: if there is no such folder, or no data set in it.
    """
    path = Path(name_or_path)
    if path.is_dir():
        try:
            return recognise(path, layout, columns)
        except UnknownLayoutError:
            if layout is None and _holds_tables(path):
                return None
            raise
    if path.exists():
        raise ValueError(f"{path}: is a file; unpack it, and pass the folder.")
    if (known := KNOWN_DATASETS.get(str(name_or_path))) is not None:
        raise ValueError(
            f"{known.name}: is not downloaded automatically; get {known.title} from {known.source}, "
            "and pass its folder."
        )
    if not is_hub_id(str(name_or_path)):
        raise ValueError(f"{name_or_path}: no such folder, and a Hub name is of the form user/name.")
    if layout is not None:
        raise ArgumentError("layout", f"{name_or_path}: layout={layout!r} is for folders; there is no such folder.")
    return None


def _holds_tables(path: Path) -> bool:
    """Whether a folder holds Parquet or Arrow files, as `datasets` writes them. Rows of `detect` are none of these."""
    patterns = ("*.parquet", "*/*.parquet", "*.arrow", "*/*.arrow")
    files = (file for pattern in patterns for file in path.glob(pattern))
    return any(not is_result(file.name, is_marked(file.parent)) for file in files)


def _require_datasets() -> None:
    try:
        import datasets  # noqa: F401
    except ImportError as error:
        raise ImportError("Data sets need the datasets library: pip install 'modeling-fbclip[train]'.") from error


def _choose(folder: Folder, name: str | Path, split: str, wanted: Sequence[str] | None) -> list[str]:
    """The categories to read, by the names of their folders."""
    if split not in folder.splits:
        raise ArgumentError("split", f"{name}: has no split {split!r}, but {', '.join(map(repr, folder.splits))}.")
    by_title = {folder.title(category): category for category in folder.splits[split]}
    if missing := [title for title in wanted or [] if title not in by_title]:
        raise ArgumentError(
            "category", f"{name}: has no category {missing[0]!r} in {split!r}, but {', '.join(by_title)}."
        )
    return [by_title[title] for title in (by_title if wanted is None else wanted)]


def _build(
    folder: Folder, split: str, categories: list[str], streaming: bool, columns: Mapping[str, str] | None
) -> "Dataset | IterableDataset":
    from datasets import Dataset, IterableDataset, NamedSplit

    from modeling_fbclip.data.row_reader import row_features

    # `datasets` shards a stream by the lists among these.
    arguments: dict[str, Any] = {
        "layout": folder.layout.name,
        "root": str(folder.root),
        "name": folder.name,
        "split": split,
        "categories": categories,
        "columns": dict(columns or {}),
    }
    if streaming:
        return IterableDataset.from_generator(
            _rows, features=row_features(), gen_kwargs=arguments, split=NamedSplit(split)
        )
    # `from_generator` would keep old rows in a cache after the folder has changed.
    return Dataset.from_list(list(_rows(**arguments)), features=row_features(), split=NamedSplit(split))


def _rows(
    layout: str, root: str, name: str, split: str, categories: list[str], columns: dict[str, str]
) -> Iterator[dict[str, Any]]:
    folder = Folder(named_layout(layout, columns), Path(root), name, {})
    for sample in folder.samples(split, categories):
        image = _as_text(sample.image)
        yield sample._asdict() | {"image": image, "mask": _mask_value(sample.mask), "path": image}


def _mask_value(mask: Path | DrawnMask | None) -> str | dict[str, Any] | None:
    """A mask as the feature `Image` takes it. A drawn one has bytes, but few: its pixels are 0 or 1."""
    if mask is None:
        return None
    if isinstance(mask, Path):
        return _as_text(mask)
    buffer = BytesIO()
    mask.draw().save(buffer, "PNG")
    return {"path": None, "bytes": buffer.getvalue()}


def _as_text(path: Path) -> str:
    """A path as text, as a table needs it; a file's name may hold any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{str(path)!r}: the name is not valid text; rename the file.") from error
    return str(path)
