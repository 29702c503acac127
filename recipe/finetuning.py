"""Chooses the settings of the bundled model's fine-tuning: `python -m recipe.finetuning`.

Each setting trains on some images of a procedural product and is measured on others, against the model before. No
image is held out here, so that a setting counts by itself. The chosen one is in `settings.py`; `make tiny` writes it
into the model's configuration. Products that settings are judged by (`products.JUDGING`) and photographs have no part.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from datasets import Dataset

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.detection.loading import load_bundled
from modeling_fbclip.evaluation import evaluate
from modeling_fbclip.training import FBCLIPTrainingArguments, train

from .product import machine
from .products import CHOOSING, PRODUCTS, write
from .settings import LOSSES, TRAINING

METRICS = ("image_auroc", "pixel_auroc", "pixel_aupro")
TEST_IMAGES = 40  # of each product, half of them good
SEED = 0  # of the products
CHOSEN: dict[str, Any] = {**TRAINING, **LOSSES}
CANDIDATES: dict[str, dict[str, Any]] = {
    "published": {"focal_gamma": 4.0, "dice_weight": 0.2, "consistency_weight": 0.15},
    "chosen": CHOSEN,
    "without augmentation": CHOSEN | {"augment": False},
    "smaller rate": CHOSEN | {"learning_rate": 2e-4},
    "larger rate": CHOSEN | {"learning_rate": 1e-3},
    "less dice": CHOSEN | {"dice_weight": 1.0},
    "more epochs": CHOSEN | {"epochs": 4},
}


def halves(folder: Path, name: str, count: int) -> tuple[Dataset, Dataset]:
    """`count` images of a product to train on and `TEST_IMAGES` others, half of each good."""
    each, tested = count // 2, TEST_IMAGES // 2
    write(folder / name, name, each + tested, each + tested, 256, SEED)
    rows = load_anomaly_dataset(folder / name).shuffle(seed=SEED)
    labels = list(rows["label"])
    of_label = [[index for index, label in enumerate(labels) if label == wanted] for wanted in (0, 1)]
    parts = ([index for some in of_label for index in some[where]] for where in (slice(each), slice(each, None)))
    training, test = (rows.select(part) for part in parts)
    return training, test


def gains(name: str, count: int, candidates: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """What each candidate changes in each metric."""
    with tempfile.TemporaryDirectory() as made:
        training, test = halves(Path(made), name, count)
        before = evaluate(*load_bundled(), test)["mean"]
        yield "before", {metric: before[metric] for metric in METRICS}
        for candidate in candidates:
            model, processor = load_bundled()
            args = FBCLIPTrainingArguments(Path(made, candidate), validation_fraction=0.0, **CANDIDATES[candidate])
            train(model, processor, training, args)
            after = evaluate(model, processor, test)["mean"]
            yield candidate, {metric: after[metric] - before[metric] for metric in METRICS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipe.finetuning", description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 100, 500], help="to train on, half of them good")
    parser.add_argument("--products", nargs="+", choices=sorted(PRODUCTS), default=CHOOSING, metavar="NAME")
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--output", type=Path, default=Path("outputs/finetuning.json"))
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    found: list[dict[str, Any]] = []
    for count in given.images:
        for name in given.products:
            for candidate, numbers in gains(name, count, given.candidates):
                found.append({"product": name, "images": count, "candidate": candidate, **numbers})
                percent = " ".join(f"{metric} {100 * number:+.1f}" for metric, number in numbers.items())
                print(f"{count} images of {name}, {candidate}: {percent}", flush=True)
        for candidate in given.candidates:
            own = [one for one in found if one["candidate"] == candidate and one["images"] == count]
            percent = " ".join(f"{metric} {100 * mean(one[metric] for one in own):+.1f}" for metric in METRICS)
            print(f"{count} images, mean, {candidate}: {percent}", flush=True)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(given.output) as aside:
        aside.write_text(json.dumps({"machine": machine("cpu"), "found": found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
