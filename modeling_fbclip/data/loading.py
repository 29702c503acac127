"""Any anomaly data set as rows of image, mask, label, category, defect and path."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_fbclip.data.layouts import LAYOUTS, Folder, UnknownLayoutError, recognise
from modeling_fbclip.data.layouts.base import has_images
from modeling_fbclip.data.registry import KNOWN_DATASETS

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


def load_anomaly_dataset(
    name_or_path: str | Path,
    split: str = "test",
    *,
    layout: str | None = None,
    category: str | Sequence[str] | None = None,
    streaming: bool = False,
    columns: Mapping[str, str] | None = None,
    **options: Any,
) -> "Dataset | IterableDataset":
    r"""
    Reads an anomaly data set of any known layout. Files are opened only when a row is asked for, so the images need
    not fit into memory.

    The layout of a folder is the first that fits of: `meta.json` of the released code, `imagefolder` metadata,
    VisA's split file, Real-IAD's JSON, DAGM's `Label` folders, MVTec's, `yes` and `no`, images and masks, HeadCT's
    `labels.csv`, KolektorSDD's, and a plain `good` with other folders. A folder that an archive has wrapped around
    the data set is unwrapped. What is none of these is read by `datasets.load_dataset`, as a name on the Hub is.

    Args:
        name_or_path (`str` or `Path`):
            A folder, or a data set's name on the Hub (`user/name`) with an image column.
        split (`str`, *optional*, defaults to `"test"`):
            `"test"` or `"train"`, or any split that a Hub data set has. Folders without splits are all `"test"`.
        layout (`str`, *optional*):
            The name of the layout to read a folder by, in place of the first that fits. `"good-only"` takes the
            images that lie in the folder itself, all of them normal; no folder is read so by default.
        category (`str` or sequence of `str`, *optional*):
            The categories wanted; all by default.
        streaming (`bool`, *optional*, defaults to `False`):
            Returns an `IterableDataset` with the same rows, which lists files as it goes. Its shards are the
            categories.
        columns (mapping of `str` to `str`, *optional*):
            For data sets read by `load_dataset`: which of their columns is `"image"`, `"mask"`, `"label"`,
            `"category"` or `"defect"`. By default the columns of these names, the first of images, and the first
            of images with a name such as `"ground_truth"`.
        options:
            Passed on to `datasets.load_dataset` (`name`, `revision`, `token` …).

    Returns:
        `datasets.Dataset` or `datasets.IterableDataset` with the columns `image`; `mask` (an image, or `None` where
        there is none), whose values are the file's: [`FBCLIPProcessor`] and `load_mask` read 0/1, 0/255 and palettes
        alike; `label` (0 normal, 1 anomalous); `category`; `defect` (`"good"` if normal, `"anomaly"` if its kind is
        unknown); `path`. Without a label column, an image is anomalous if its mask marks a pixel.

    Raises:
        `ValueError`: In one line, if there is no such folder, layout, split, category or column, or if a list in the
        data set names a file outside it.
        `ImportError`: If the `datasets` library is not installed.
    """
    _require_datasets()
    wanted = [category] if isinstance(category, str) else category
    folder = find_folder(name_or_path, layout)
    if folder is None:
        from modeling_fbclip.data.columns import load_columns

        return load_columns(str(name_or_path), split, wanted, streaming, columns or {}, options)
    if columns or options:
        given = ", ".join(["columns"] * bool(columns) + list(options))
        raise ValueError(f"{name_or_path}: {given} cannot be given for a folder of images; leave it out.")
    return _build(folder, split, _choose(folder, name_or_path, split, wanted), streaming)


def find_folder(name_or_path: str | Path, layout: str | None = None) -> Folder | None:
    """
    A data set as a folder of image files. `None` if it is one for `datasets.load_dataset`: on the Hub, or a folder
    of tables.

    Raises:
        ValueError: if it is nothing that could be read.
    """
    path = Path(name_or_path)
    if path.is_dir():
        try:
            return recognise(path, layout)
        except UnknownLayoutError:
            if layout is None and _holds_tables(path):
                return None
            raise
    if path.exists():
        raise ValueError(f"{path}: is a file; unpack it, and pass the folder.")
    if (known := KNOWN_DATASETS.get(str(name_or_path))) is not None:
        raise ValueError(
            f"{known.name}: is not downloaded by itself; get {known.title} from {known.source} and pass its folder."
        )
    if str(name_or_path).count("/") != 1 or str(name_or_path).startswith((".", "/", "~")):
        raise ValueError(f"{name_or_path}: no such folder, and a Hub name is of the form user/name.")
    if layout is not None:
        raise ValueError(f"{name_or_path}: layout={layout!r} is for folders, and there is no such folder.")
    return None


def holds_good_images_only(name_or_path: str | Path) -> bool:
    """
    Whether a folder has images in itself and is no labelled data set, so that layout "good-only" is meant.

    Raises:
        ValueError: if it is nothing that could be read.
    """
    if not has_images(Path(name_or_path)):
        return False
    try:
        find_folder(name_or_path)
    except UnknownLayoutError:
        return True
    return False


def _holds_tables(path: Path) -> bool:
    """Whether a folder holds Parquet or Arrow files, as `datasets` writes them."""
    return any(next(path.glob(pattern), None) for pattern in ("*.parquet", "*/*.parquet", "*.arrow", "*/*.arrow"))


def _require_datasets() -> None:
    try:
        import datasets  # noqa: F401
    except ImportError as error:
        raise ImportError("Data sets need the datasets library: pip install 'modeling-fbclip[train]'.") from error


def _choose(folder: Folder, name: str | Path, split: str, wanted: Sequence[str] | None) -> list[str]:
    """The categories to read, by the layout's names."""
    if split not in folder.splits:
        raise ValueError(f"{name}: has no split {split!r}, but {', '.join(map(repr, folder.splits))}.")
    by_title = {folder.title(category): category for category in folder.splits[split]}
    if missing := [title for title in wanted or [] if title not in by_title]:
        raise ValueError(f"{name}: has no category {missing[0]!r} in {split!r}, but {', '.join(by_title)}.")
    return [by_title[title] for title in (by_title if wanted is None else wanted)]


def _build(folder: Folder, split: str, categories: list[str], streaming: bool) -> "Dataset | IterableDataset":
    from datasets import Dataset, IterableDataset, NamedSplit

    from modeling_fbclip.data.columns import row_features

    # Lists among these are what datasets shards a stream by.
    arguments: dict[str, Any] = {
        "layout": folder.layout.name,
        "root": str(folder.root),
        "name": folder.name,
        "split": split,
        "categories": categories,
    }
    if streaming:
        return IterableDataset.from_generator(
            _rows, features=row_features(), gen_kwargs=arguments, split=NamedSplit(split)
        )
    # Not from_generator, which would keep rows in a cache after the folder has changed.
    return Dataset.from_list(list(_rows(**arguments)), features=row_features(), split=NamedSplit(split))


def _rows(layout: str, root: str, name: str, split: str, categories: list[str]) -> Iterator[dict[str, Any]]:
    folder = Folder(LAYOUTS[layout], Path(root), name, {})
    for sample in folder.samples(split, categories):
        image = _as_text(sample.image)
        yield {
            "image": image,
            "mask": None if sample.mask is None else _as_text(sample.mask),
            "label": sample.label,
            "category": sample.category,
            "defect": sample.defect,
            "path": image,
        }


def _as_text(path: Path) -> str:
    """A file's name need not be text, but what stands in a table must be."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{str(path)!r}: the name is not valid text; rename the file.") from error
    return str(path)
