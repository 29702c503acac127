"""What the records beside a model tell of its training data and of the machine, before they are published."""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from modeling_fbclip.common.json_files import read_record
from modeling_fbclip.common.provenance import CALIBRATION_RECORD, TRAINING_RECORD

from .evaluation_report import EVALUATION

ABOUT_IMAGES = (TRAINING_RECORD, CALIBRATION_RECORD)  # records of images that the owner has
# How each of them, and the report of an evaluation, stays at home.
ADVICE = dict.fromkeys(ABOUT_IMAGES, "--without-record leaves it out") | {
    EVALUATION: "move it elsewhere to leave it out"
}
# The folders of a path within a text, such as `--output /home/ada/model`, but no address on the web.
FOLDERS = re.compile(r"(?<![\w:/.\\])(?:~|\.{1,2})?/(?:[^/\s\"']+/)*(?=[^/\s])|(?<!\w)[A-Za-z]:\\(?:[^\\\s\"']+\\)*")


def without_folders(value: Any) -> Any:
    """A value of a record, in which paths are the names of their files alone: folders may be personal."""
    if isinstance(value, dict):
        return {without_folders(name): without_folders(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_folders(part) for part in value]
    if not isinstance(value, str):
        return value
    if re.match(r"[A-Za-z]:\\", value):
        return PureWindowsPath(value).name
    if value.startswith(("/", "~/", "./", "../")):
        return PurePosixPath(value).name
    return FOLDERS.sub("", value)


def told_of_data(folder: Path) -> list[str]:
    """A sentence for each record in a staged folder: what it tells of images that the owner has, and how not to."""
    lines = []
    for name, advice in ADVICE.items():
        if not (folder / name).is_file():
            continue
        record = read_record(folder / name)
        data, digests = record.get("data"), record.get("image_digests")
        categories = record.get("categories") or (data.get("categories") if isinstance(data, dict) else None)
        told = [_number(digests)] if isinstance(digests, list) else []
        if isinstance(categories, list | dict) and categories:
            told.append(f"the category names {', '.join(map(str, categories))}")
        if told:
            lines.append(f"{name} tells {' and '.join(told)}; {advice}")
    return lines


def _number(digests: list[Any]) -> str:
    return f"digests of {len(digests)} image{'s' * (len(digests) != 1)}"
