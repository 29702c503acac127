"""Starts the `fbclip` command. Nothing heavy is imported before a command needs it."""

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130  # exit status


def main() -> None:
    """Runs the command line: exit status 0, 1 (some images failed), 2 (nothing could be done) or 130."""
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        from modeling_fbclip.cli.app import run

        sys.exit(run(sys.argv[1:]))
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Ends at once while a module is imported: libraries turn a KeyboardInterrupt there into errors of their own."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
