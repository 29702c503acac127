"""Markdown tables, for the command line and for the model card."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[bool]) -> str:
    """
    A Markdown table with a header.

    Args:
        header: the names of the columns.
        rows: the cells of each row, as text.
        numeric: for each column, whether it holds numbers and is aligned right.
    """
    ruler = ["---:" if right else "---" for right in numeric]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ruler, *escaped))
