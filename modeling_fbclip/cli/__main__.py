"""Starts the `fbclip` command. Nothing heavy is imported before a command needs it."""

import os
import signal
import sys
import threading


def main() -> None:
    """Runs the command line: exit status 0, 1 (some images failed), 2 (nothing could be done) or 130."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:  # an interrupted import would end in a traceback, and there is nothing to clean up yet
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from modeling_fbclip.cli.app import run

    if in_main_thread:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
