"""
Images to detect in, named outright or in a data set: batch by batch, each process its share.

A batch holds the same images whatever the number of processes, so that a score is the same to the last bit.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modeling_fbclip.common.messages import one_line
from modeling_fbclip.detection.image_finder import ImageFinder, absolute, common_folder
from modeling_fbclip.detection.processes import Processes

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset
    from PIL.Image import Image


class Item(NamedTuple):
    """
    One image to come.

    Args:
        shard, position: its place in the order of a single process: the part of a stream (else 0), and where in it.
        path: its name in messages, rows and results.
        category: its category, if it is known.
        read: opens it, or raises OSError or ValueError.
    """

    shard: int
    position: int
    path: str
    category: str | None
    read: "Callable[[], Image]"


Batch = list[Item]


class Source(NamedTuple):
    """
    Where images come from.

    Args:
        batches: those of one process, in ascending order.
        total: how many images there are in all, or `None` if only the end will tell.
        folder: what every path lies below.
    """

    batches: Callable[[Processes], Iterator[Batch]]
    total: Callable[[], int | None]
    folder: Path


def open_images(paths: Sequence[str], finder: ImageFinder, category: str | None, batch_size: int) -> Source:
    """
    Image files, folders and globs of one category or none, walked as they are needed.

    Raises:
        ArgumentError: if one of them names no image.
    """
    try:
        finder.require(paths)
        folder = common_folder(paths)
    except (OSError, ValueError) as error:
        raise ValueError(one_line(error)) from error

    def batches(processes: Processes) -> Iterator[Batch]:
        found = enumerate(chain.from_iterable(map(finder.find, paths)))
        items = (Item(0, index, str(path), category, partial(_read, path, str(path))) for index, path in found)
        return _every_nth(_in_batches(items, batch_size), processes)

    return Source(batches, lambda: sum(1 for path in paths for _ in finder.find(path)), folder)


def open_data(
    data: str, split: str, categories: list[str] | None, layout: str | None, streaming: bool, batch_size: int
) -> Source:
    """
    A data set by its folder or Hub id.

    Raises:
        OSError, ValueError, ImportError: if it cannot be read, or a library for it is missing.
    """
    from datasets import Dataset

    from modeling_fbclip.data import load_anomaly_dataset
    from modeling_fbclip.data.decoding import undecoded

    dataset: Any = load_anomaly_dataset(data, split=split, layout=layout, category=categories, streaming=streaming)
    dataset = undecoded(dataset)
    folder = absolute(Path(data))
    if isinstance(dataset, Dataset):
        return Source(partial(_table_batches, dataset, batch_size), lambda: len(dataset), folder)
    return Source(partial(_stream_batches, dataset, batch_size), lambda: None, folder)


def _table_batches(dataset: "Dataset", batch_size: int, processes: Processes) -> Iterator[Batch]:
    names: Any = dataset.select_columns(["path", "category"])
    for start in processes.share(range(0, len(dataset), batch_size)):
        rows = names[start : start + batch_size]
        yield [
            Item(0, index, path, category, partial(_read_row, dataset, index, path))
            for index, (path, category) in enumerate(zip(rows["path"], rows["category"], strict=True), start)
        ]


def _stream_batches(dataset: "IterableDataset", batch_size: int, processes: Processes) -> Iterator[Batch]:
    """Whole shards for each process, or every so many batches of all if there are too few: then each reads all."""
    shards = range(dataset.num_shards)
    enough = len(shards) >= processes.size
    mine = processes.share(shards) if enough else shards
    batches = chain.from_iterable(_in_batches(_shard_items(dataset, shard), batch_size) for shard in mine)
    return batches if enough else _every_nth(batches, processes)


def _shard_items(dataset: "IterableDataset", shard: int) -> Iterator[Item]:
    for index, row in enumerate(dataset.shard(dataset.num_shards, shard)):
        path, image = row["path"], row["image"]
        if dataset.num_shards > 1 and path.endswith("]"):  # a row of a table, which is numbered within its shard
            table, _, number = path.rpartition("[")
            path = f"{table}[{shard}-{number}"
        yield Item(shard, index, path, row["category"], partial(_read_value, image, path))


def _in_batches(items: Iterable[Item], batch_size: int) -> Iterator[Batch]:
    remaining = iter(items)
    while batch := list(islice(remaining, batch_size)):
        yield batch


def _every_nth(batches: Iterator[Batch], processes: Processes) -> Iterator[Batch]:
    return islice(batches, processes.rank, None, processes.size)


def _read_row(dataset: "Dataset", index: int, path: str) -> "Image":
    row: Any = dataset[index]
    return _read_value(row["image"], path)


def _read_value(value: Any, path: str) -> "Image":
    from modeling_fbclip.data.decoding import read_rgb

    if value is None:
        raise ValueError("there is no image")
    return read_rgb(value, path)


def _read(image: Any, path: str) -> "Image":
    from modeling_fbclip.images_fbclip import load_rgb_image

    return load_rgb_image(image, path)
