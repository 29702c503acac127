"""Names and values of reports and records as text and as tables of the model card."""

from collections.abc import Iterator, Sequence
from typing import Any

from modeling_fbclip.common.markdown import markdown_table

METRICS = {"auroc", "ap", "aupro", "aupimo", "f1"}


def card_table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table with a column for every name in the rows. Metrics are in percent."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(name, row.get(name)) for name in names] for row in rows]
    numeric = [any(isinstance(row.get(name), int | float) for row in rows) for name in names]
    return markdown_table([as_label(name) for name in names], cells, numeric)


def flatten(record: dict[str, Any], prefix: str = "") -> Iterator[dict[str, str]]:
    """The values of nested records as rows of a table with two columns."""
    for name, value in record.items():
        path = f"{prefix}{as_label(name)}"
        if isinstance(value, dict):
            yield from flatten(value, f"{path}, ")
        else:
            yield {"what": path, "value": as_text(value)}


def as_label(name: str) -> str:
    """The name of a field as text, such as `pixel AUROC` for `pixel_auroc`."""
    return " ".join(word.upper() if word in METRICS else word for word in name.split("_"))


def as_text(value: Any) -> str:
    """A value on one line; `n/a` for `None`."""
    if value is None:
        return "n/a"
    if isinstance(value, list):
        return ", ".join(map(as_text, value))
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def is_metric(name: str, value: Any) -> bool:
    """Whether a field holds a metric, a number in `[0, 1]`."""
    return isinstance(value, float) and not METRICS.isdisjoint(name.split("_"))


def _cell(name: str, value: Any) -> str:
    return f"{100 * value:.1f}" if is_metric(name, value) else as_text(value)
