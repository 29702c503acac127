"""The report of the photographs that were sent together, as `fbclip detect --report` writes it."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from modeling_fbclip.detection.report import write_report
from modeling_fbclip.detection.report_entries import Entries
from modeling_fbclip.detection.results import Results
from modeling_fbclip.detection.rows import Row
from modeling_fbclip.detection.sources import Item

from .examiner import Examiner
from .sessions import Work

REPORT = "report.html"


def make_report(examiner: Examiner, work: Work) -> bytes:
    """
    The report of the first side of all findings so far, as one file of HTML.

    Raises:
        ValueError: the model is not in memory any more.
    """
    model = work.findings[0][0].side.model
    with TemporaryDirectory(prefix="fbclip-report-") as folder, TemporaryFile() as file:
        entries = Entries(file)
        detector = examiner.models.get(model)
        for index, (finding, *_) in enumerate(work.findings):
            name = finding.photo.name
            item = Item(0, index, name, None, lambda: None)
            if finding.error:
                entries.add(item, Row(name, error=finding.error), None, None)
                continue
            result = finding.result()
            row = Row(name, result["score"], result["label"], regions=result["regions"])
            entries.add(item, row, finding.picture(), result)
            if finding.processor is not None:
                detector = replace(detector, processor=finding.processor, thresholds=finding.thresholds)
        results = Results(detector, Path("Images"), Path(), overlays=False, maps=False)
        target = Path(folder, REPORT)
        write_report(target, model, results, entries, None)
        return target.read_bytes()
