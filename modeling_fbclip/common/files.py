"""Files and folders that are whole or not there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(target: Path, owner: bool = True) -> Iterator[Path]:
    """
    A path beside `target` to write a file or a folder to: it becomes `target` when all went well, and goes away
    when not. Of a folder that is there already, files of the same names are replaced and the others stay. What a
    killed run has left of the same target goes away too. Of several processes that write to it, the `owner` renames
    it.
    """
    target = target.absolute()  # "." has no name
    aside = target.with_name(f".{target.name}.partial")
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
