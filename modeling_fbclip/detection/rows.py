"""One row an image: what a run of detection says of it."""

from typing import NamedTuple


class Row(NamedTuple):
    """What became of one image. `score`, `label` and the files written, or the `error`; `category` if it is known."""

    path: str
    score: float | None = None
    label: str | None = None
    error: str | None = None
    overlay: str | None = None
    map: str | None = None
    category: str | None = None
