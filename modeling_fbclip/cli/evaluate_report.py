"""The file that `fbclip evaluate --report` writes, to be looked at in a browser."""

from pathlib import Path
from typing import Any

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.evaluation_forms import table_rows, title_of


def write_page(target: Path | None, data: str, model: str | None, report: dict[str, Any], pages: list[Any]) -> None:
    """Writes the report on a data set, if it is wanted."""
    if target is None:
        return
    from modeling_fbclip.detection.report_page import facts_of
    from modeling_fbclip.evaluation.report import write_report
    from modeling_fbclip.files_fbclip import printable

    facts = facts_of({"model": model or "the bundled model"} | report["settings"] | report["versions"])
    with blamed_on("--report"):
        write_report(
            target,
            f"{printable(Path(data).name)}: evaluation",
            title_of(report),
            list(table_rows(report)),
            facts,
            pages,
        )
