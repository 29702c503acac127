"""The progress bar of every command and of training."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int | None, description: str, done: int = 0, visible: bool = True, keep: bool = False) -> Any:
    """
    A bar on stderr if that is a terminal; nothing elsewhere.

    Args:
        total: number of steps, or `None` if that is not known.
        description: the word in front of the bar.
        done: steps done before.
        visible: whether this process shows the bar.
        keep: whether the bar stays when it is closed.

    Returns:
        A `tqdm` bar: a context manager with `update(steps)`.
    """
    hidden = not (visible and sys.stderr is not None and sys.stderr.isatty())
    settings: dict[str, Any] = {"leave": keep, "mininterval": 0, "file": sys.stderr}
    return tqdm(total=total, desc=description, initial=done, disable=hidden, **settings)


def print_beside_bar(text: str) -> None:
    """Prints a line to stdout; on a terminal, above the bar."""
    with tqdm.external_write_mode(sys.stdout):
        print(text, flush=True)
