"""JSON files that a user hands over."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


def read_json(path: Path, parse_constant: Callable[[str], Any] | None = None) -> Any:
    r"""
    The content of a JSON file. `parse_constant` gets `NaN` and infinities, as in `json.loads`.

    Raises:
        `ValueError`: The file cannot be read or is damaged; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=parse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not readable as JSON ({error}); correct or recreate the file.") from error


def read_record(path: Path) -> dict[str, Any]:
    r"""
    The JSON object of a file, all of whose numbers are finite, as others can read it.

    Raises:
        `ValueError`: The file cannot be read or holds something else; the message names it.
    """
    record = read_json(path, _refuse)
    if not isinstance(record, dict):
        raise ValueError(f"{path}: holds no JSON object; correct or recreate the file.")
    return record


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
