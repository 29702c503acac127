"""The report of a run of `detect`: every image with its score and decision, in one file of HTML."""

from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from modeling_fbclip.detection.report_entries import PATTERN, Entries, Entry, SortedEntries, outcome_of
from modeling_fbclip.detection.report_page import FOLDER, facts_of, write_page
from modeling_fbclip.detection.results import Results
from modeling_fbclip.files_fbclip import printable

SMALLEST_BOX = 0.05  # of the picture's longer side: so large is the frame of a small region at least


def write_report(target: Path, model: str, results: Results, own: Entries, folder: Path | None) -> None:
    """
    Writes the report, the highest score first. The thumbnails are read one by one.

    Args:
        target: the file to write.
        model: the name of the model.
        results: what was examined, and how.
        own: the entries of this process.
        folder: where the entries of all processes are; `None` if there are no others.
    """
    with ExitStack() as opened:
        paths = sorted(folder.glob(PATTERN)) if folder else []
        files: list[IO[bytes]] = [opened.enter_context(path.open("rb")) for path in paths]
        entries = SortedEntries(files or [own.file])
        counts = Counter({"all": len(entries), "anomalous": 0, "normal": 0, "failed": 0})
        counts.update(word for outcome in entries.outcomes.values() for word in outcome.split())
        values = {
            "title": f"{printable(results.inputs.name) or 'Images'}: what was found",
            "summary": _summary(counts, results),
            "facts": _facts(model, results),
            "counts": counts,
            "entries": map(shown, entries),
        }
        write_page(target, FOLDER / "report.html", values)


def shown(entry: Entry) -> Entry:
    """An entry as the template has it."""
    regions = entry["regions"] or []
    side = SMALLEST_BOX * max(entry.get("width", 0), entry.get("height", 0))
    notes = [entry["category"]] if entry["category"] else []
    if entry["regions"] is not None:
        count = len(regions) + entry["more"]
        notes.append(f"{count} region{'s' * (count != 1)}")
    return entry | {
        "path": printable(entry["path"]),
        "error": entry["error"] and printable(entry["error"]),
        "outcome": outcome_of(entry),
        "note": printable(" · ".join(notes)),
        "photograph": entry.get("photograph"),
        "regions": [_framed(region, rank, side) for rank, region in enumerate(regions, 1)],
    }


def _framed(region: dict[str, Any], rank: int, side: float) -> dict[str, Any]:
    """A region with its text, and a frame around it that is at least so large."""
    left, top, right, bottom = region["box"]
    width, height = max(right - left, side), max(bottom - top, side)
    return {
        "left": round((left + right - width) / 2, 1),
        "top": round((top + bottom - height) / 2, 1),
        "width": round(width, 1),
        "height": round(height, 1),
        "peak": region["peak"],
        "text": f"region {rank}: peak {region['peak']:.3f}, mean {region['mean']:.3f}, {region['area']:,} pixels "
        f"within {left}, {top} and {right}, {bottom}",
    }


def _summary(counts: Counter[str], results: Results) -> str:
    threshold = results.detector.thresholds_of(None)["threshold"]
    words = [f"{counts['all']:,} images", *(f"{counts[name]:,} {name}" for name in ("anomalous", "normal", "failed"))]
    return f"{', '.join(words)}. An image is anomalous from a score of {threshold:.3f} on."


def _facts(model: str, results: Results) -> dict[str, str]:
    """The model and all settings, as a reader finds them named elsewhere."""
    detector = results.detector
    own = {f"category {name}": detector.thresholds_of(name) for name in sorted(detector.known_categories())}
    others = {f"mode {name}": values for name, values in (detector.processor.other_thresholds or {}).items()}
    settings = {name: value for name, value in results.settings().items() if not isinstance(value, dict)}
    return facts_of(
        {
            "model": model,
            "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            "version": version("modeling-fbclip"),
            **detector.thresholds_of(None),
            **{f"thresholds of {name}": values for name, values in (own | others).items()},
            **{name: value for name, value in settings.items() if name not in ("threshold", "pixel_threshold")},
        }
    )
