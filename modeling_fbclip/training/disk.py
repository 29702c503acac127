"""One message for a disk that is full or cannot be written to."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

# Errors of the libraries when a disk is full or a file is damaged.
DISK_ERRORS = (OSError, RuntimeError, SafetensorError)


@contextmanager
def writing(path: Path, advice: str = "free some space and continue with resume auto") -> Iterator[None]:
    """Raises OSError with the path, the reason and the advice, if it cannot be written."""
    try:
        yield
    except DISK_ERRORS as error:
        raise OSError(f"{path}: cannot be written ({reason(error)}); {advice}.") from error


def reason(error: Exception) -> str:
    """The reason in the error of a library, on one line."""
    if isinstance(error, pickle.UnpicklingError):  # its own message advises to load the file in an unsafe way
        return "it holds something other than numbers"
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())[:200]
