"""What fine-tuning gains on images it has not seen: the bundled model before and after, in several runs.

Run by `make benchmark-finetuning DATA=FOLDER`, a data set with masks. All runs train on one half of the good images
and of every kind of defect, each with another seed, and evaluate on the other half. Prints a table and writes
`outputs/benchmark-finetuning.json`.
"""

import argparse
import json
import platform
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from datasets import Dataset
from rich.console import Console
from rich.table import Table

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, load_bundled
from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.detection.loading import quieten_libraries
from modeling_fbclip.evaluation import evaluate
from modeling_fbclip.training import FBCLIPTrainingArguments, train
from modeling_fbclip.training.selection import split_rows

METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pixel_aupro": "AUPRO exact"}
SPLIT_SEED = 0
# Chosen on quarters: the two halves of the half that is trained on.
RECIPE: dict[str, Any] = {
    "epochs": 2,
    "learning_rate": 5e-4,
    "lr_scheduler": "cosine",
    "focal_gamma": 0.0,
    "dice_weight": 4.0,
    "consistency_weight": 0.0,
}


def halves(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """To train on and to evaluate on: each kind of defect and the good images in equal parts."""
    trained, held_out = split_rows(dataset, 0.5, SPLIT_SEED)
    return dataset.select(trained), dataset.select(held_out)


def fine_tuned(training: Dataset, test: Dataset, seed: int) -> dict[str, float]:
    """The metrics of the bundled model after one run of the recipe."""
    model, processor = load_bundled()
    with tempfile.TemporaryDirectory() as folder:
        train(model, processor, training, FBCLIPTrainingArguments(folder, seed=seed, **RECIPE))
    return measured(model, processor, test)


def measured(model: FBCLIPModel, processor: FBCLIPProcessor, test: Dataset) -> dict[str, float]:
    found = evaluate(model, processor, test)["mean"]
    return {name: found[name] for name in METRICS}


def print_table(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['data']}, {report['machine']}; percent on the half that was not trained on")
    table.add_column("model")
    for name in METRICS.values():
        table.add_column(name, justify="right")
    rows = {"bundled": report["before"]}
    rows |= {f"fine-tuned, seed {seed}": found for seed, found in report["after"].items()}
    rows |= {"fine-tuned, mean": report["mean"]}
    for name, found in rows.items():
        table.add_row(name, *(f"{100 * found[metric]:.1f}" for metric in METRICS))
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a data set with masks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark-finetuning.json"))
    arguments = parser.parse_args()
    quieten_libraries()
    training, test = halves(load_anomaly_dataset(arguments.data))
    before = measured(*load_bundled(), test)
    after = {str(seed): fine_tuned(training, test, seed) for seed in arguments.seeds}
    average = {name: mean(found[name] for found in after.values()) for name in METRICS}
    machine = f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    report = {"data": arguments.data.name, "machine": machine, "recipe": RECIPE, "images": [len(training), len(test)]}
    report |= {"before": before, "after": after, "mean": average}
    print_table(report)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
