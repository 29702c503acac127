"""
Images to examine, named by paths or in a data set: batch by batch, each process its share.

A batch holds the same images whatever the number of processes, so that a score is the same to the last bit.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modeling_fbclip.common.listing import LeftOut, describe
from modeling_fbclip.detection.image_finder import ImageFinder, absolute, common_folder
from modeling_fbclip.detection.processes import Processes

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


class Item(NamedTuple):
    """
    One image to come.

    Args:
        shard, position: its place in the order of a single process: the part of a stream (else 0), and where in it.
        path: its name in messages, rows and results.
        category: its category, if it is known.
        source: gives what the processor reads, a path for example, or raises OSError or ValueError. For `evaluate` it
            gives the data set's row.
    """

    shard: int
    position: int
    path: str
    category: str | None
    source: Callable[[], Any]


Batch = list[Item]


class Source(NamedTuple):
    """
    Where images come from.

    Args:
        batches: those of one process, in ascending order.
        batch_size: how many images a batch has.
        total: how many images there are in all, or `None` if that is not known.
        folder: what every path lies below.
        left_out: the end of a line on the files that were left out, once all batches are taken.
    """

    batches: Callable[[Processes], Iterator[Batch]]
    batch_size: int
    total: Callable[[], int | None]
    folder: Path
    left_out: Callable[[], str]


def open_images(paths: Sequence[str], finder: ImageFinder, category: str | None, batch_size: int) -> Source:
    """
    Image files, folders and globs of one category or none, walked as they are needed.

    Raises:
        ValueError: if one of them names no image.
    """
    finder.require(paths)
    left_out: LeftOut = Counter()

    def batches(processes: Processes) -> Iterator[Batch]:
        left_out.clear()
        found = enumerate(chain.from_iterable(finder.find(path, left_out) for path in paths))
        items = (Item(0, index, str(path), category, partial(str, path)) for index, path in found)
        return processes.share_lazily(in_batches(items, batch_size))

    def total() -> int:
        return sum(1 for path in paths for _ in finder.find(path, Counter()))

    return Source(batches, batch_size, total, common_folder(paths), lambda: describe(left_out))


def open_data(
    data: str,
    split: str,
    categories: list[str] | None,
    layout: str | None,
    streaming: bool,
    batch_size: int,
    columns: Mapping[str, str] | None = None,
) -> Source:
    """
    A data set by its folder or Hub id. Its labels may be missing.

    Raises:
        ImportError, OSError, ValueError: if it cannot be read, or a library for it is missing.
    """
    from datasets import Dataset

    from modeling_fbclip.data import load_anomaly_dataset
    from modeling_fbclip.data.decoding import undecoded
    from modeling_fbclip.data.leftovers import find_leftovers

    dataset: Any = load_anomaly_dataset(
        data, split, layout=layout, category=categories, streaming=streaming, columns=columns, labelled=False
    )
    rows = undecoded(dataset)
    folder = absolute(Path(data))

    def left_out() -> str:
        return str(find_leftovers(data, layout, columns))

    if isinstance(rows, Dataset):
        return Source(partial(table_batches, rows, batch_size), batch_size, lambda: len(rows), folder, left_out)
    return Source(partial(stream_batches, rows, batch_size), batch_size, lambda: None, folder, left_out)


def table_batches(rows: "Dataset", batch_size: int, processes: Processes) -> Iterator[Batch]:
    """The images of a data set whose rows are undecoded."""
    names: Any = rows.select_columns(["path", "category"])
    for start in processes.share(range(0, len(rows), batch_size)):
        some = names[start : start + batch_size]
        yield [
            Item(0, index, path, category, partial(_read_from_table, rows, index, path))
            for index, (path, category) in enumerate(zip(some["path"], some["category"], strict=True), start)
        ]


def stream_batches(rows: "IterableDataset", batch_size: int, processes: Processes) -> Iterator[Batch]:
    """
    Each process reads whole shards. If there are fewer shards than processes, each reads all shards and takes every
    n-th batch.
    """
    shards = range(rows.num_shards)
    enough = len(shards) >= processes.size
    mine = processes.share(shards) if enough else shards
    batches = chain.from_iterable(in_batches(_shard_items(rows, shard), batch_size) for shard in mine)
    return batches if enough else processes.share_lazily(batches)


def in_batches(items: Iterable[Item], batch_size: int) -> Iterator[Batch]:
    """Lists of `batch_size` items; the last may be shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, batch_size)):
        yield batch


def _shard_items(rows: "IterableDataset", shard: int) -> Iterator[Item]:
    for index, row in enumerate(rows.shard(rows.num_shards, shard)):
        path = row["path"]
        if rows.num_shards > 1 and path.endswith("]"):  # a row of a table, which is numbered within its shard
            table, _, number = path.rpartition("[")
            path = f"{table}[{shard}-{number}"
        yield Item(shard, index, path, row["category"], partial(image_of, row, path))


def _read_from_table(rows: "Dataset", index: int, path: str) -> Any:
    row: Any = rows[index]
    return image_of(row, path)


def image_of(row: dict[str, Any], path: str) -> Any:
    """The image of a data set's row, as the processor can read it."""
    from modeling_fbclip.data.decoding import open_image

    if row["image"] is None:
        raise ValueError("there is no image")
    return open_image(row["image"], path)
