"""What references bring to the bundled model: 1, 2, 4 and 16 good images, and the images of a set mutually.

Run by `make benchmark-references DATA=FOLDER`, a folder of data sets (or one) of any layout that `fbclip datasets
check` knows. Good images are drawn several times, and leave the test where a set has none for training. Prints the
gains over the texts alone, on the same images, and writes `outputs/benchmark-references.json`.
"""

import argparse
import json
import platform
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from benchmark_tiny import data_sets
from rich.console import Console
from rich.table import Table

from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.evaluation.shots import ZERO_SHOT, evaluate_shots

SHOTS = (1, 2, 4, 16)
SIZE = 256  # of the bundled model
METRICS = {"image_auroc": "image AUROC", "pixel_aupro": "AUPRO exact"}


def measured(folder: Path, seeds: int) -> dict[str, Any]:
    """The report of `fbclip evaluate --shots 1 2 4 16 --mutual`, on average over the categories."""
    dataset = load_anomaly_dataset(folder)
    try:
        good = load_anomaly_dataset(folder, "train")
    except ValueError:
        good = None
    found = evaluate_shots(load_detector(), dataset, good, SHOTS, seeds, mutual=True, size=SIZE)
    return {"set": folder.name, "images": len(dataset), "trials": found["mean"]}


def gain(trial: dict[str, Any], metric: str) -> float | None:
    """Over the texts alone, in points."""
    value, before = trial["mean"][metric], trial["zero_shot"][metric]
    return None if value is None else 100 * (value - before)


def cells(trials: dict[str, Any], metric: str) -> list[str]:
    zero_shot = trials[ZERO_SHOT]["mean"][metric]
    if zero_shot is None:
        return ["n/a"] * len(trials)
    gains = (
        f"{gain(trial, metric):+.1f} ± {100 * trial['std'][metric]:.1f}"
        for name, trial in trials.items()
        if name != ZERO_SHOT
    )
    return [f"{100 * zero_shot:.1f}", *gains]


def print_table(report: dict[str, Any]) -> None:
    names = list(report["sets"][0]["trials"])
    for metric, title in METRICS.items():
        table = Table(title=f"{title}, percent; gains in points. {report['machine']}")
        for column in ("set", "images", *names):
            table.add_column(column, justify="left" if column == "set" else "right")
        for found in report["sets"]:
            table.add_row(found["set"], str(found["images"]), *cells(found["trials"], metric))
        means = [
            [value for found in report["sets"] if (value := gain(found["trials"][name], metric)) is not None]
            for name in names[1:]
        ]
        table.add_section()
        table.add_row("mean", "", "", *(f"{mean(values):+.1f}" if values else "n/a" for values in means))
        Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a data set, or a folder of them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark-references.json"))
    arguments = parser.parse_args()
    try:
        folders = list(data_sets(arguments.data))
    except (OSError, ValueError) as error:
        parser.exit(2, f"{arguments.data}: {error}\n")
    machine = f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    report = {
        "command": "make benchmark-references",
        "machine": machine,
        "size": SIZE,
        "seeds": arguments.seeds,
        "sets": [measured(folder, arguments.seeds) for folder in folders],
    }
    print_table(report)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
