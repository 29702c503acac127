"""What a report shows of each image, kept until all images are done: one file a process, one line an image."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, Any

from PIL import Image

from modeling_fbclip.detection.processes import Processes
from modeling_fbclip.detection.rows import Row
from modeling_fbclip.detection.sources import Item
from modeling_fbclip.detection.thumbnails import make_thumbnails

MOST_REGIONS = 20  # that are shown of one image
PATTERN = "rows-*.thumbnails"

Entry = dict[str, Any]


class Entries:
    """
    Collects what the report shows. Several threads may add to it.

    Args:
        file: open for reading and for appending, in bytes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._lock = Lock()

    def add(self, item: Item, row: Row, picture: Image.Image | None, result: dict[str, Any] | None) -> None:
        """One image's row, with thumbnails if there is a result."""
        entry: Entry = {"shard": item.shard, "index": item.position} | row._asdict()
        if picture is not None and result is not None:
            entry["width"], entry["height"] = picture.size
            entry["photograph"], entry["heatmap"] = make_thumbnails(picture, result)
            entry["more"] = max(0, len(result["regions"]) - MOST_REGIONS)
            entry["regions"] = result["regions"][:MOST_REGIONS]
        line = json.dumps(entry).encode() + b"\n"
        with self._lock:
            self.file.write(line)
            self.file.flush()


@contextmanager
def collecting(folder: Path | None, processes: Processes) -> Iterator[Entries]:
    """
    Entries of this process: in a file of a folder, where a later run finds them, or in one that goes with the run.

    Args:
        folder: that of the rows; `None` if they go elsewhere.
        processes: this process and the others.
    """
    if folder is None:
        with TemporaryFile() as file:
            yield Entries(file)
        return
    name = PATTERN.replace("*", f"{processes.rank:05}-of-{processes.size:05}")
    with (folder / name).open("ab+") as file:
        yield Entries(file)


class SortedEntries:
    """
    The entries of some files, the highest score first, then what has none. Only their places are held in memory.

    Args:
        files: open for reading, in bytes.
    """

    def __init__(self, files: Iterable[IO[bytes]]) -> None:
        places: dict[tuple[int, int], tuple[float, IO[bytes], int]] = {}  # of an image that is met again, the last
        self.outcomes: dict[tuple[int, int], str] = {}
        for file in files:
            for start, entry in _lines(file):
                key = entry["shard"], entry["index"]
                places[key] = (-1.0 if entry["score"] is None else entry["score"], file, start)
                self.outcomes[key] = outcome_of(entry)
        self._places = [places[key][1:] for key in sorted(places, key=lambda key: (-places[key][0], key))]

    def __iter__(self) -> Iterator[Entry]:
        for file, start in self._places:
            file.seek(start)
            yield json.loads(file.readline())

    def __len__(self) -> int:
        return len(self._places)


def outcome_of(entry: Entry) -> str:
    """The words that the report's filter knows an image by: its label, "failed", or both."""
    return " ".join([entry["label"]] * bool(entry["label"]) + ["failed"] * bool(entry["error"]))


def _lines(file: IO[bytes]) -> Iterator[tuple[int, Entry]]:
    """Each whole line of a file, and where it starts."""
    file.seek(0)
    start = 0
    for line in file:
        if line.endswith(b"\n"):  # the last one of a run that was killed is not whole
            yield start, json.loads(line)
        start += len(line)
