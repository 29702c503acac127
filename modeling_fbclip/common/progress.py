"""The progress of every command and of training: a bar on a terminal, else a line a minute."""

import sys
import time
from typing import Any, Self, TextIO

from tqdm import tqdm

SECONDS = 60  # from one line to the next


def progress_bar(total: int | None, description: str, done: int = 0, visible: bool = True, keep: bool = False) -> Any:
    """
    A bar on stderr if that is a terminal, else a line a minute there.

    Args:
        total: number of steps, or `None` if that is not known.
        description: the word in front of the bar.
        done: steps done before.
        visible: whether this process shows the bar.
        keep: whether the bar stays when it is closed.

    Returns:
        A `tqdm` bar, or what is used of one: a context manager with `update(steps)`, `set_postfix`,
        `set_postfix_str` and `close`.
    """
    hidden = not visible or sys.stderr is None
    if not hidden and not sys.stderr.isatty():
        return _LineAMinute(total, description, done)
    settings: dict[str, Any] = {"leave": keep, "mininterval": 0, "file": sys.stderr}
    return tqdm(total=total, desc=description, initial=done, disable=hidden, **settings)


class _LineAMinute:
    """Says on stderr how far the work is, where there is no terminal."""

    def __init__(self, total: int | None, description: str, done: int) -> None:
        self.total, self.description, self.done = total, description, done
        self.begun = self.said = time.monotonic()
        self.part = ""

    def update(self, steps: int = 1) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.said >= SECONDS:
            self.said = now
            of = "" if self.total is None else f" of {self.total}"
            minutes = (now - self.begun) / 60
            print(
                f"{self.description}: {self.done}{of}{self.part} after {minutes:.0f} min", file=sys.stderr, flush=True
            )

    def set_postfix_str(self, part: str) -> None:
        """How far the work on the next step is, in words."""
        self.part = f", {part}" if part else ""
        self.update(0)

    def set_postfix(self, *_: object, **__: object) -> None:
        """Nothing: a line says no more than how far the work is."""

    def close(self) -> None:
        """Nothing: every line is complete."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def print_beside_bar(text: str, stream: TextIO | None = None) -> None:
    """Prints a line to a stream, by default stdout; on a terminal, above the bar."""
    stream = stream or sys.stdout
    with tqdm.external_write_mode(stream):
        print(text, file=stream, flush=True)
