"""Deletes what lies in the server's folder for too long: uploads broken off or never used, results, empty folders."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

MAX_AGE = 60  # seconds since the last change of a file that no request waits with
MAX_BYTES = 1_000_000_000  # in the folder, with what arrives
INTERVAL = 5  # seconds between two sweeps


class Sweeper:
    """
    A thread that sweeps a folder while the block runs. No error ends it.

    Args:
        folder (`Path`): where the server stores files.
        in_use (`Callable`): gives the paths that stay, however old.
        also (`Callable`): called with each sweep, for what is kept in memory.
    """

    def __init__(self, folder: Path, in_use: Callable[[], Iterable[str]], also: Callable[[], None]) -> None:
        self.folder = folder
        self._in_use = in_use
        self._also = also
        self._ended = threading.Event()

    def __enter__(self) -> "Sweeper":
        threading.Thread(target=self._run, name="sweeper", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more fit."""
        return sum(_size(path) for path in self._paths()) + size <= MAX_BYTES

    def sweep(self) -> None:
        """Deletes files, and folders that are empty, whose last change is older than `MAX_AGE`."""
        stay = set(self._in_use())
        before = time.time() - MAX_AGE
        for path in sorted(self._paths(), reverse=True):  # what a folder holds comes before it
            try:
                if str(path) in stay or path.lstat().st_mtime > before:
                    continue
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()
            except OSError:  # it is not empty, or another thread was faster
                continue

    def _paths(self) -> list[Path]:
        try:
            return list(self.folder.rglob("*"))
        except OSError:  # a folder went while it was listed
            return []

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            for work in (self.sweep, self._also):
                try:
                    work()
                except Exception:  # whatever it is, the next sweep takes place
                    logger.exception("A sweep failed.")


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
