"""
Files that visitors upload: limited in size, read once, and deleted when they have been read.

Gradio's server stores an upload and tells the browser its path. The browser sends this path with its next request. A
client could send any path, so only paths of uploads that are not yet used are opened.
"""

import ctypes
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .photos import MAX_FILES, MAX_TOTAL_BYTES, Photo, shown_name

NOT_A_FILE = "send an uploaded file, as `handle_file('photo.jpg')` of gradio_client does."
GONE = "The upload is no longer there; send the file again."


class Uploads:
    """The paths of unused uploads. A file that is sent twice has one path, which counts twice."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._asked_for: Counter[str] = Counter()
        self._arriving = 0
        self._lock = threading.Lock()

    @contextmanager
    def read(self, files: Any) -> Iterator[list[Photo]]:
        """
        Reads the files of one request, as Gradio describes them (`path`, `orig_name`). They are deleted when the block
        ends.

        Raises:
            ValueError: they are no such files, or there are too many of them or too many bytes.
        """
        paths = _paths(files)
        with self._lock:
            if Counter(paths) - self._waiting:
                raise ValueError(GONE)
            self._waiting -= Counter(paths)
            self._asked_for -= Counter(paths)
        try:
            if len(paths) > MAX_FILES:
                raise ValueError(f"{len(paths)} images are too many; at most {MAX_FILES} at once.")
            if sum(Path(path).stat().st_size for path in paths) > MAX_TOTAL_BYTES:
                raise ValueError(f"The images are too large; at most {MAX_TOTAL_BYTES / 1e6:.0f} MB together.")
            names = [shown_name(file.get("orig_name")) for file in files]
            yield [Photo(name, Path(path).read_bytes()) for name, path in zip(names, paths, strict=True)]
        except FileNotFoundError as error:  # it waited for too long
            raise ValueError(GONE) from error
        finally:
            self._remove(set(paths))
            # glibc keeps freed memory for each thread, and requests run in many threads.
            with suppress(OSError, AttributeError):  # there is no glibc
                ctypes.CDLL("libc.so.6").malloc_trim(0)

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Deletes no file while the block runs: an upload arrives that may have the path of another."""
        with self._lock:
            self._arriving += 1
        try:
            yield
        finally:
            with self._lock:
                self._arriving -= 1

    def expect(self, paths: list[str]) -> None:
        """Adds uploads that have arrived."""
        with self._lock:
            self._waiting = Counter({path: n for path, n in self._waiting.items() if Path(path).exists()})
            self._asked_for &= self._waiting
            self._waiting.update(paths)

    def ask_for(self, request: Any) -> None:
        """A request, as JSON, has come in: the uploads that it names are kept until its turn comes."""
        with self._lock:
            named = Counter(path for path in _texts(request) if path in self._waiting)
            self._asked_for = (self._asked_for + named) & self._waiting

    def in_use(self) -> set[str]:
        """The files that are not to be deleted because of their age."""
        with self._lock:
            return set(self._asked_for)

    def _remove(self, paths: set[str]) -> None:
        with self._lock:
            if self._arriving:  # the sweeper deletes the files later
                return
            for path in (Path(path) for path in paths if not self._waiting[path]):
                path.unlink(missing_ok=True)
                with suppress(OSError):  # the folder holds a file of the same content and another name
                    path.parent.rmdir()


def _paths(files: Any) -> list[str]:
    """The paths of a request's files."""
    if not isinstance(files, Sequence) or isinstance(files, str):
        raise ValueError(f"{type(files).__name__} is no file; {NOT_A_FILE}")
    for file in files:
        if not isinstance(file, Mapping):
            raise ValueError(f"{type(file).__name__} is no file; {NOT_A_FILE}")
        if not isinstance(file.get("path"), str):
            raise ValueError(f"`path` is missing; {NOT_A_FILE}")
    return [file["path"] for file in files]


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(part)
