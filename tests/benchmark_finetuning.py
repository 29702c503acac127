"""What fine-tuning gains on images it has not seen: the bundled model before and after, in several runs.

Run by `make benchmark-finetuning DATA=FOLDER`, a data set with masks. Each run trains on a random half of the good
images and of every kind of defect, and evaluates on the other half. Prints a table and writes
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

from modeling_fbclip import load_bundled
from modeling_fbclip.cli.models import quieten_libraries
from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.evaluation import evaluate
from modeling_fbclip.training import FBCLIPTrainingArguments, train
from modeling_fbclip.training.rows import split_rows

METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pixel_aupro": "AUPRO exact"}
# Chosen on halves of training halves; the published recipe is made for CLIP ViT-L/14 and thousands of images.
RECIPE: dict[str, Any] = {"epochs": 8, "learning_rate": 5e-4, "lr_scheduler": "cosine", "batch_size": 4}


def halves(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """To train on and to evaluate on: each kind of defect and the good images in equal parts."""
    kinds = dataset.remove_columns("category").rename_column("defect", "category")
    trained, held_out = split_rows(kinds, 0.5, seed)
    return dataset.select(trained), dataset.select(held_out)


def run(dataset: Dataset, seed: int, recipe: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The metrics before and after one fine-tuning."""
    training, test = halves(dataset, seed)
    model, processor = load_bundled()
    before = evaluate(model, processor, test)["mean"]
    with tempfile.TemporaryDirectory() as folder:
        train(model, processor, training, FBCLIPTrainingArguments(folder, seed=seed, **recipe))
    after = evaluate(model, processor, test)["mean"]
    return {name: {"before": before[name], "after": after[name]} for name in METRICS}


def print_table(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['data']}, {report['machine']}; percent on the half that was not trained on")
    table.add_column("run")
    for name in METRICS.values():
        table.add_column(name, justify="right")
    for index, found in enumerate([*report["runs"], report["mean"]], 1):
        cells = [f"{100 * found[name]['before']:.1f} → {100 * found[name]['after']:.1f}" for name in METRICS]
        table.add_row(str(index) if index <= len(report["runs"]) else "mean", *cells)
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a data set with masks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=RECIPE["epochs"])
    parser.add_argument("--learning-rate", type=float, default=RECIPE["learning_rate"])
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark-finetuning.json"))
    arguments = parser.parse_args()
    quieten_libraries()
    recipe = RECIPE | {"epochs": arguments.epochs, "learning_rate": arguments.learning_rate}
    dataset = load_anomaly_dataset(arguments.data)
    runs = [run(dataset, seed, recipe) for seed in arguments.seeds]
    average = {
        name: {when: mean(found[name][when] for found in runs) for when in ("before", "after")} for name in METRICS
    }
    machine = f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    report = {"data": arguments.data.name, "machine": machine, "recipe": recipe, "runs": runs, "mean": average}
    print_table(report)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
