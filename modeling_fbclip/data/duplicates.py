"""Finds the same picture in two splits, by the bytes of its file."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class _Seen(NamedTuple):
    split: str
    path: str


class Pictures:
    """The pictures seen so far."""

    def __init__(self) -> None:
        self._first: dict[bytes, _Seen] = {}

    def problem(self, split: str, row: Mapping[str, Any]) -> str | None:
        """What is odd about an undecoded row: its picture was in another split already."""
        digest = _digest(row["image"])
        if digest is None:
            return None
        first = self._first.setdefault(digest, _Seen(split, row["path"]))
        return None if first.split == split else f"the same picture as {first.path} in the split {first.split}"


def _digest(image: Mapping[str, Any] | None) -> bytes | None:
    """A digest of the file's bytes; `None` if it cannot be read here."""
    if image is None:
        return None
    if image["bytes"] is not None:
        return hashlib.blake2b(image["bytes"], digest_size=16).digest()
    try:
        with Path(image["path"]).open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except (OSError, ValueError):
        return None
