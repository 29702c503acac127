"""The report of `fbclip detect`: collected while the images are examined, written when all are done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from modeling_fbclip.cli.errors import blamed_on
from modeling_fbclip.cli.row_forms import FILES, RowFormat

if TYPE_CHECKING:
    from modeling_fbclip.detection.processes import Processes
    from modeling_fbclip.detection.results import Results


@contextmanager
def reporting(
    report: Path | None, model: str | None, form: RowFormat, results: "Results", processes: "Processes"
) -> Iterator["Results"]:
    """Results that are collected for the report, too. The main process writes it at the end; `None` for no report."""
    if report is None:
        yield results
        return
    from modeling_fbclip.detection.report import write_report
    from modeling_fbclip.detection.report_entries import collecting

    folder = results.output if form in FILES else None
    with collecting(folder, processes) as entries:
        yield results._replace(entries=entries)
        processes.wait()
        if processes.is_main:
            with blamed_on("--report"):
                write_report(report, model or "the bundled model", results, entries, folder)
