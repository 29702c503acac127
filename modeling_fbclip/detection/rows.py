"""One row an image: what a run of detection says of it."""

from typing import NamedTuple


class Row(NamedTuple):
    """
    What became of one image: `score`, `label` and the files written; `category` if it is known. With an `error`, what
    could be computed and written nevertheless.
    """

    path: str
    score: float | None = None
    label: str | None = None
    error: str | None = None
    overlay: str | None = None
    map: str | None = None
    category: str | None = None


def outcome(label: str | None, error: str | None) -> tuple[str, ...]:
    """What an image is counted as: its label, and "error" if something failed."""
    return (*filter(None, [label]), *(["error"] if error else []))
