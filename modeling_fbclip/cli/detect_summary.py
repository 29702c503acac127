"""The last line of `fbclip detect`: how many images there were, what decided, and where the results are."""

from typing import TYPE_CHECKING

from modeling_fbclip.cli.row_forms import FILES, RowFormat

if TYPE_CHECKING:
    from modeling_fbclip.detection.results import Results
    from modeling_fbclip.detection.run import Seen


def summarise(seen: "Seen", results: "Results", form: RowFormat) -> str:
    """The line."""
    total = seen.categories.total()
    counts = [f"{total} image{'s' * (total != 1)}", f"{seen.outcomes['anomalous']} anomalous"]
    if seen.outcomes["error"]:
        counts.append(f"{seen.outcomes['error']} failed")
    return f"{', '.join(counts)} ({_limit(seen, results)}){_where(results, form)}"


def _limit(seen: "Seen", results: "Results") -> str:
    detector = results.detector
    modes: list[str | None] = [*seen.modes] or [None]
    limits = {mode: detector.thresholds_of(None, mode)["threshold"] for mode in modes}
    limit = f"score from {next(iter(limits.values())):.3f} on"
    if len(set(limits.values())) > 1:
        limit = "score from " + ", ".join(f"{value:.3f} on as {mode}" for mode, value in limits.items())
    known = set.union(*(detector.known_categories(mode) for mode in modes))
    if "threshold" not in detector.thresholds and known.intersection(seen.categories):
        strangers = sorted(set(seen.categories) - known)
        limit = "score from the category's threshold on"
        if strangers:
            limit += f", that of all images for {', '.join(strangers)}"
    return limit


def _where(results: "Results", form: RowFormat) -> str:
    written = ["rows"] * (form in FILES) + ["overlays"] * results.overlays + ["maps"] * results.maps
    where = (
        f"; {', '.join(written[:-1])}{' and ' * (len(written) > 1)}{written[-1]} are in {results.output}"
        if written
        else ""
    )
    if results.crops is not None:
        where += f"; crops are in {results.crops}"
    return where
