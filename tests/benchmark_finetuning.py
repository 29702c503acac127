"""What `fbclip train` brings on images it has not seen: the plain command, with no option but the seed.

Run by `make benchmark-finetuning DATA=FOLDER`, where each folder below is a data set (or FOLDER is one). Half of the
good images and of every kind of defect is for training, the other half is measured on. The bundled model is trained on
10, 30 and all images of the first half, with three seeds, beside references of the good ones among the same images.
Prints a table for each data set and writes `outputs/benchmark-finetuning.json`.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from rich.console import Console
from rich.table import Table

from modeling_fbclip import FBCLIPReferences, load_bundled
from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.data.decoding import undecoded
from modeling_fbclip.detection.loading import load_detector, quieten_libraries
from modeling_fbclip.evaluation import evaluate
from modeling_fbclip.training.selection import split_rows

METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pixel_aupro": "AUPRO exact"}
SPLIT_SEED = 0
MOST_REFERENCES = 16

Numbers = dict[str, float | None]


def data_sets(folder: Path) -> Iterator[tuple[str, Dataset]]:
    """Each data set below a folder, or the one that it is. ValueError if it is none either."""
    found = False
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        with suppress(ValueError):
            yield path.name, load_anomaly_dataset(path)
            found = True
    if not found:
        yield folder.name, load_anomaly_dataset(folder)


def some_of(rows: Dataset, count: int | None, seed: int) -> Dataset:
    """`count` rows, half of them good where there are so many; all rows for `None`."""
    if count is None or count >= len(rows):
        return rows
    labels, rng = np.array(rows["label"]), np.random.default_rng(seed)
    good, anomalous = (rng.permutation(np.flatnonzero(labels == label)) for label in (0, 1))
    return rows.select([*good[: count // 2], *anomalous[: count - count // 2]])


def write_folder(rows: Dataset, folder: Path) -> None:
    """Links to the images and masks of rows, in MVTec's layout."""
    for row in undecoded(rows):
        category = folder / str(row["category"] or "part")
        kind = "good" if row["label"] == 0 else str(row["defect"] or "defect")
        image = Path(row["image"]["path"]).resolve()
        links = [(image, category / "test" / kind / image.name)]
        if row.get("mask") is not None:
            mask = Path(row["mask"]["path"]).resolve()
            links.append((mask, category / "ground_truth" / kind / f"{image.stem}_mask{mask.suffix}"))
        for source, link in links:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)


def fine_tuned(rows: Dataset, test: Dataset, seed: int) -> tuple[Numbers, int]:
    """The metrics after the plain command, and the epoch that it chose."""
    with tempfile.TemporaryDirectory() as made:
        write_folder(rows, Path(made, "parts"))
        command = [sys.executable, "-m", "modeling_fbclip.cli", "train", f"{made}/parts", "--output", f"{made}/mine"]
        done = subprocess.run([*command, "--seed", str(seed)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        trained = load_detector(f"{made}/mine")
        epoch = json.loads(Path(made, "mine/training_record.json").read_text())["result"]["epoch"]
        return measured(test, trained.model, trained.processor), epoch


def with_references(rows: Dataset, test: Dataset, seed: int) -> Numbers:
    """The metrics of the bundled model that compares with good ones among the rows."""
    model, processor = load_bundled()
    good = np.random.default_rng(seed).permutation(np.flatnonzero(np.array(rows["label"]) == 0))
    chosen = rows.select(good[:MOST_REFERENCES])
    return measured(test, model, processor, FBCLIPReferences.from_images(model, processor, list(chosen["image"])))


def measured(test: Dataset, model: Any, processor: Any, references: FBCLIPReferences | None = None) -> Numbers:
    found = evaluate(model, processor, test, references=references)["mean"]
    return {name: found[name] for name in METRICS}


def average(numbers: list[Numbers]) -> Numbers:
    listed = {name: [one[name] for one in numbers] for name in METRICS}
    return {name: None if None in values else mean(values) for name, values in listed.items()}  # type: ignore[type-var]


def examine(rows: Dataset, sizes: list[int | None], seeds: list[int]) -> dict[str, Any]:
    """Each row of a data set's table, by its title."""
    training, test = (rows.select(part) for part in split_rows(rows, 0.5, SPLIT_SEED))
    found: dict[str, Any] = {"bundled": measured(test, *load_bundled())}
    for size in sizes:
        title = f"all {len(training)}" if size is None else str(size)
        chosen = [some_of(training, size, seed) for seed in seeds]
        pairs = list(zip(chosen, seeds, strict=True))
        found[f"references of {title}"] = average([with_references(some, test, seed) for some, seed in pairs])
        runs = [fine_tuned(some, test, seed) for some, seed in pairs]
        for seed, (numbers, epoch) in zip(seeds, runs, strict=True):
            found[f"trained on {title}, seed {seed}, epoch {epoch}"] = numbers
        found[f"trained on {title}, mean"] = average([numbers for numbers, _ in runs])
        print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def print_table(name: str, machine: str, found: dict[str, Numbers]) -> None:
    table = Table(title=f"{name}, {machine}; percent on the half that was not trained on")
    table.add_column("model")
    for metric in METRICS.values():
        table.add_column(metric, justify="right")
    for title, numbers in found.items():
        values = [numbers[metric] for metric in METRICS]
        table.add_row(title, *("" if value is None else f"{100 * value:.1f}" for value in values))
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of data sets")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 30], help="images to train on, beside all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark-finetuning.json"))
    arguments = parser.parse_args()
    quieten_libraries()
    machine = f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    report: dict[str, Any] = {"machine": machine, "sets": {}}
    for name, rows in data_sets(arguments.data):
        report["sets"][name] = examine(rows, [*arguments.sizes, None], arguments.seeds)
        print_table(name, machine, report["sets"][name])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
