"""Starts the `fbclip` command. Nothing heavy is imported before a command needs it."""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

INTERRUPTED = 130  # exit status
STARTING = 10  # seconds in which a command imports its room and has nothing to clean up


STARTED = time.monotonic()


def main() -> None:
    """Runs the command line: exit status 0, 1 (some images failed), 2 (nothing could be done) or 130."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it stays open to the end
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        from modeling_fbclip.cli.app import run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before or after a command's own work
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Ends at once while modules are imported: libraries turn a KeyboardInterrupt there into errors of their own."""
    while frame is not None and time.monotonic() - STARTED < STARTING:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
