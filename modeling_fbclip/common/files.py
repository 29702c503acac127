"""Files and folders that are whole or not there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(target: Path, owner: bool = True, writer: str = "") -> Iterator[Path]:
    """
    A temporary path to write a file or a folder to. It becomes `target` if all went well, and is removed if not. In a
    folder that exists, files of the same names are replaced and the others stay. What a killed run has left is
    removed.

    Args:
        target: the file or folder to write.
        owner: of several processes that write to the temporary path, the owner renames it.
        writer: a name for this writer, if several write the same target at the same time.
    """
    target = target.absolute()  # "." has no name
    # Inside a folder that exists, as its parent may be another file system.
    aside = target / ".partial" if target.is_dir() else target.with_name(f".{target.name}{writer}.partial")
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


def _put(aside: Path, target: Path) -> None:
    if not aside.is_dir():
        aside.replace(target)
        return
    for file in aside.rglob("*"):
        _flush(file)
    if target.is_dir():
        for file in aside.iterdir():
            file.replace(target / file.name)
    else:
        aside.replace(target)


def _flush(file: Path) -> None:
    """Has the disk hold what was written: a rename may otherwise outlive it when the machine fails."""
    if file.is_file():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
