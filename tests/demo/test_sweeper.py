"""What lies in the server's folder for too long is deleted, whatever happens."""

import os
import time
from pathlib import Path

import pytest
from modeling_fbclip.demo import sweeper
from modeling_fbclip.demo.sweeper import MAX_AGE, Sweeper

from .conftest import wait_for


def nothing() -> None:
    pass


@pytest.fixture
def folder(tmp_path) -> Path:
    """Has an old and a new file, an old folder that is empty, and an old file that is in use."""
    for name in ("old/upload.jpg", "new.jpg", "waits/upload.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("old/upload.jpg", "waits/upload.jpg", "empty"):
        make_old(tmp_path / name)
    return tmp_path


def make_old(path: Path, seconds: float = MAX_AGE + 1) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_symlink())


def test_old_files_and_empty_folders_go(folder):
    swept = Sweeper(folder, lambda: [str(folder / "waits/upload.jpg")], nothing)
    swept.sweep()
    assert names(folder) == ["new.jpg", "old", "waits", "waits/upload.jpg"]
    make_old(folder / "old")
    make_old(folder / "new.jpg", MAX_AGE - 5)
    swept.sweep()
    assert names(folder) == ["new.jpg", "waits", "waits/upload.jpg"]


def test_bytes_are_limited(folder, monkeypatch):
    swept = Sweeper(folder, list, nothing)
    used = sum(path.lstat().st_size for path in folder.rglob("*"))
    monkeypatch.setattr(sweeper, "MAX_BYTES", used + 10)
    assert swept.has_room(10)
    assert not swept.has_room(11)


def test_no_error_ends_the_sweeper(folder, monkeypatch, caplog):
    monkeypatch.setattr(sweeper, "INTERVAL", 0.01)
    failures = iter([RuntimeError("changed while it was read"), OSError("a disk")])

    def in_use():
        for failure in failures:
            raise failure
        return []

    swept = []
    with Sweeper(folder, in_use, lambda: swept.append(1) or 1 / 0):
        wait_for(lambda: not (folder / "old/upload.jpg").exists(), 5)
        wait_for(lambda: len(swept) > 3, 5)
    assert "changed while it was read" in caplog.text
