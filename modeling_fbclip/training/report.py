"""The report of a run: the table of its epochs, and one file of HTML with curves, settings, data and thresholds."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from modeling_fbclip.detection.report_page import facts_of, write_page
from modeling_fbclip.files_fbclip import printable
from modeling_fbclip.training.curves import Curves

REPORT_FILE = "training_report.html"
TEMPLATE = Path(__file__).parent / "page" / "training.html"
METRICS = {"image_auroc": "image AUROC", "pixel_aupro": "AUPRO", "value": "mean"}
TRAINING_LOSS = "training loss"


def epochs_table(epochs: Sequence[Mapping[str, Any]]) -> str:
    """The epochs that were compared as a table of text: loss and metrics in percent, and which is the best."""
    rows = _epoch_rows(epochs)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.rjust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def write_training_report(folder: Path, record: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> None:
    """
    Writes `training_report.html`. It names neither images nor folders.

    Args:
        folder: of the trained model.
        record: what `training_record.json` holds.
        log: the lines of `log.jsonl`.

    Raises:
        OSError: it cannot be written; then nothing of it stays.
    """
    epochs, result = record["epochs"], record["result"]
    losses = _training_losses(log)
    thresholds = {name: value for name, value in result.items() if "threshold" in name}
    others = {name: value for name, value in result.items() if name not in thresholds}
    title = f"{printable(folder.resolve().name)}: training"
    values = {
        "title": title,
        "summary": f"Stopped: {result['stopped']}." if "stopped" in result else _summary(epochs),
        "facts": facts_of({"model": record["arguments"]["model"] or "made in memory"} | record["environment"]),
        "epochs": _epoch_rows(epochs) if epochs else _loss_rows(losses),
        "figures": _figures(epochs, losses),
        "settings": _setting_rows(record["arguments"], record["origins"]),
        "parts": {
            name: facts_of(part)
            for name, part in (("Data", record["data"]), ("Thresholds", thresholds), ("Result", others))
        },
    }
    write_page(folder / REPORT_FILE, TEMPLATE, values)


def _summary(epochs: Sequence[Mapping[str, Any]]) -> str:
    best = next((epoch for epoch in epochs if epoch["is_best"]), None)
    if best is None:
        return "No images were held out, so the model of the last epoch was kept without a comparison."
    kept = f"epoch {best['epoch']}" if best["epoch"] else "the model before training: no epoch was better"
    return f"Measured on held-out images, in percent. Kept is {kept}."


def _epoch_rows(epochs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Header, and a row an epoch."""
    rows = [["epoch", "loss", *METRICS.values(), "best"]]
    for epoch in epochs:
        loss = "n/a" if epoch["loss"] is None else f"{epoch['loss']:.4f}"
        metrics = ["n/a" if epoch[name] is None else f"{100 * epoch[name]:.1f}" for name in METRICS]
        name = str(epoch["epoch"]) if epoch["epoch"] else "0 (before)"
        rows.append([name, loss, *metrics, "best" if epoch["is_best"] else ""])
    return rows


def _loss_rows(losses: Mapping[int, float]) -> list[list[str]]:
    return [["epoch", TRAINING_LOSS], *([str(epoch), f"{loss:.4f}"] for epoch, loss in losses.items())]


def _training_losses(log: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """The mean loss of the steps of each epoch. A line of the log says how many epochs were done after its step."""
    losses = defaultdict(list)
    for line in log:
        if "loss" in line:
            losses[math.ceil(line["epoch"])].append(line["loss"])
    return {epoch: mean(some) for epoch, some in losses.items()}


def _figures(epochs: Sequence[Mapping[str, Any]], losses: Mapping[int, float]) -> list[Curves]:
    """The curves that there are finite numbers for."""

    def shown(curves: Mapping[str, Mapping[int, float | None]], factor: int = 1) -> dict[str, dict[int, float]]:
        finite = {
            name: {
                epoch: factor * value for epoch, value in some.items() if value is not None and math.isfinite(value)
            }
            for name, some in curves.items()
        }
        return {name: some for name, some in finite.items() if some}

    by_epoch = {name: {epoch["epoch"]: epoch[name] for epoch in epochs} for name in (*METRICS, "loss")}
    metrics = shown({label: by_epoch[name] for name, label in METRICS.items()}, 100)
    both_losses = shown({TRAINING_LOSS: losses, "loss of held-out images": by_epoch["loss"]})
    drawn = {"Held-out images, percent": metrics, "Loss": both_losses}
    return [Curves(caption, curves) for caption, curves in drawn.items() if curves]


def _setting_rows(arguments: Mapping[str, Any], origins: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Each setting with its value and where that comes from, as far as it is known."""
    named = {name: value for name, value in arguments.items() if name != "model"}
    facts = facts_of(named).items()
    return [
        (label, value, printable(origins.get(name, ""))) for name, (label, value) in zip(named, facts, strict=True)
    ]
