"""The templates of reports, filled in and written to one file that needs no other."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.files_fbclip import printable

FOLDER = Path(__file__).parent / "page"


def write_page(target: Path, template: Path, values: Mapping[str, Any]) -> None:
    """
    Writes a page. All text in it is escaped, and its security policy allows neither requests nor other scripts.

    Args:
        target: the file to write.
        template: extends `page.html`.
        values: what the template fills in; `title`, `summary` and `facts`, a table, are those of `page.html`.

    Raises:
        OSError: it cannot be written; then nothing of it stays.
    """
    folders = [FOLDER, template.parent]
    environment = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    # Ours, so they are not escaped; the policy knows them by their digests.
    parts = {name: Markup((FOLDER / file).read_text("utf-8")) for name, file in PARTS.items()}
    stream = environment.get_template(template.name).stream(**values, **parts, hash_of=_hash_of)
    stream.enable_buffering(50)
    with written_aside(target) as aside:
        stream.dump(str(aside), "utf-8", "replace")


def facts_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings and other values as the page lists them."""
    return {printable(name.replace("_", " ")): printable(_in_words(value)) for name, value in settings.items()}


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_in_words(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


PARTS = {"style": "page.css", "script": "page.js"}


def _hash_of(text: str) -> Markup:
    return Markup(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
