"""JSON files that a user hands over."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    r"""
    The content of a JSON file.

    Raises:
        `ValueError`: The file cannot be read or is damaged; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not readable as JSON ({error}); write the file anew.") from error
