"""Files and folders that are whole or not there."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

PARTIAL = ".partial"


@contextmanager
def written_aside(target: Path, owner: bool = True, writer: str = "") -> Iterator[Path]:
    """
    A temporary path to write a file or a folder to. It becomes `target` if all went well, and is removed if not. In a
    folder that exists, files of the same names are replaced and the others stay. What a killed run has left is
    removed by the next one with the same target and writer.

    A device, such as `/dev/stdout`, is written itself.

    Args:
        target: the file or folder to write.
        owner: of several processes that write to the temporary path, the owner renames it.
        writer: a name for this writer, if several write the same target at the same time.
    """
    target = target.absolute()  # "." has no name
    # Inside a folder that exists, as its parent may be another file system.
    aside = target / PARTIAL if target.is_dir() else target.with_name(f".{target.name[:50]}{writer}.partial")
    if target.exists() and not (target.is_dir() or target.is_file()):
        yield target
        return
    if owner:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(aside)
    try:
        yield aside
        if owner:
            _put(aside, target)
    finally:
        if owner:
            _remove(aside)


def require_writable(target: Path) -> None:
    """
    Tries whether a file or a folder can be written, before the work that fills it. Nothing stays of the try.

    Raises:
        OSError: it cannot.
    """
    if target.exists() and not (target.is_dir() or target.is_file()):  # a device
        return
    folder = next(path for path in (target.absolute(), *target.absolute().parents) if path.exists())
    if not folder.is_dir() and folder != target.absolute():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
    try:
        with TemporaryFile(dir=folder if folder.is_dir() else folder.parent):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error


def require_file(target: Path) -> None:
    """
    The same of a file.

    Raises:
        OSError: it cannot be written, or it is a folder.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    require_writable(target)


def is_empty(folder: Path) -> bool:
    """Whether a folder is not there, or holds nothing but what a killed run has left of it."""
    return not folder.is_dir() or all(path.name == PARTIAL for path in folder.iterdir())


def _put(aside: Path, target: Path) -> None:
    if not aside.is_dir():
        aside.replace(target)
        return
    for file in aside.rglob("*"):
        _flush(file)
    if target.is_dir():
        # A model's configuration comes last: half a model does not load without it.
        for file in sorted(aside.iterdir(), key=lambda file: file.name == "config.json"):
            file.replace(target / file.name)
    else:
        aside.replace(target)


def _flush(file: Path) -> None:
    """Writes the file to the disk, so that a power cut after the rename loses nothing."""
    if file.is_file():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
