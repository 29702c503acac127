"""What a command prints on stdout, whose reader may have gone and whose disk may be full."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

READER_GONE = 141  # exit status; a shell gives it to a program that ends for this reason


@contextmanager
def printing() -> Iterator[None]:
    """
    What is printed in the block has been written at its end.

    Raises:
        typer.Exit: the reader has gone, as `head` does.
        typer.BadParameter: stdout cannot be written to.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What waits in the buffer would be an error again at Python's end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(READER_GONE) from None
        raise typer.BadParameter(f"cannot be written to: {error.strerror}", param_hint="stdout") from error


def take_each(*steps: Callable[[], object]) -> None:
    """Takes every step, even after one that failed, so that a result goes wherever it can. Raises the first error."""
    failures = []
    for step in steps:
        try:
            step()
        except Exception as failure:
            failures.append(failure)
    if failures:
        raise failures[0]
