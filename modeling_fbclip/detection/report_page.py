"""The templates of reports, filled in and written to one file that needs no other."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from modeling_fbclip.common.files import written_aside

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


PARTS = {"style": "page.css", "script": "page.js"}


def _hash_of(text: str) -> Markup:
    return Markup(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
