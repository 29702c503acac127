"""Runs `fbclip` commands in one process, to import torch only once. Each line of stdin is a command as JSON."""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

from modeling_fbclip.cli.__main__ import main


def run(arguments: list[str], token: str | None) -> tuple[int, str, str]:
    """The exit status of a command, and its stdout and stderr."""
    os.environ.pop("HF_TOKEN", None)
    if token is not None:
        os.environ["HF_TOKEN"] = token
    sys.argv = ["fbclip", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    return status, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(*json.loads(line))), flush=True)
