"""What must hold before a picture is decoded: its size, its pages, and the library that it needs."""

from importlib import import_module
from typing import Any


def require_page(page: int, count: int, unit: str = "page") -> None:
    """Raises ValueError if there is no such page."""
    if page >= count:
        raise ValueError(f"there is no {unit} {page}: it has {count}, numbered from 0")


def require_size(pixels: float, most: float) -> None:
    """Raises ValueError if a picture has more than `most` pixels."""
    if pixels > most:
        raise ValueError(
            f"{pixels / 1e6:.4g} megapixels are more than the limit of {most / 1e6:g}; make the picture smaller, or "
            "raise `max_megapixels` (--max-megapixels)"
        )


def library(name: str, extra: str) -> Any:
    """An optional library. ValueError that names the extra if it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise ValueError(
            f'reading it needs the library {name.partition(".")[0]}: pip install "modeling-fbclip[{extra}]"'
        ) from None
