"""One row an image: what a run of detection says of it."""

from typing import Any, NamedTuple


class Row(NamedTuple):
    """
    What became of one image: `score`, `label` and the files written; `category` if it is known; `regions` as
    `find_regions` gives them. With an `error`, what could be computed and written nevertheless.
    """

    path: str
    score: float | None = None
    label: str | None = None
    error: str | None = None
    overlay: str | None = None
    map: str | None = None
    category: str | None = None
    regions: list[dict[str, Any]] | None = None


# In place of the regions in a form that has plain cells only.
CELLS = (*Row._fields[:-1], "regions", "largest_region", "highest_region")


def cells(row: Row) -> tuple[Any, ...]:
    """The row with the number of regions, the largest area in pixels and the highest peak; these two only if any."""
    regions = row.regions or []
    largest = max((region["area"] for region in regions), default=None)
    highest = max((region["peak"] for region in regions), default=None)
    return (*row[:-1], None if row.regions is None else len(regions), largest, highest)


def outcome(label: str | None, error: str | None) -> tuple[str, ...]:
    """What an image is counted as: its label, and "error" if something failed."""
    return (*filter(None, [label]), *(["error"] if error else []))
