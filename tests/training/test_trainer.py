"""transformers' own `Trainer` trains, evaluates, keeps the best model and resumes, as the README shows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import Trainer, TrainingArguments

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor

PROCESSOR = FBCLIPProcessor(image_size=32)


def make_rows(count: int) -> list[dict[str, Any]]:
    """Grey images, every second one with a bright square and its mask."""
    rows = []
    for index in range(count):
        pixels = np.random.default_rng(index).integers(90, 130, size=(32, 32, 3), dtype=np.uint8)
        mask = np.zeros((32, 32), dtype=np.uint8)
        if index % 2:
            mask[8:16, 8:16] = pixels[8:16, 8:16] = 255
        rows.append({"image": Image.fromarray(pixels), "mask": Image.fromarray(mask), "label": index % 2})
    return rows


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    inputs = PROCESSOR(images=[row["image"] for row in rows], masks=[row["mask"] for row in rows])
    return dict(inputs) | {"labels": torch.tensor([row["label"] for row in rows])}


def separation(prediction: Any) -> dict[str, float]:
    scores = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
    return {"separation": float(scores[prediction.label_ids == 1].mean() - scores[prediction.label_ids == 0].mean())}


def make_trainer(folder: Path, steps: int) -> Trainer:
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=3,
        learning_rate=1e-3,
        eval_strategy="steps",
        eval_steps=2,
        save_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="separation",
        label_names=["labels"],
        remove_unused_columns=False,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    return Trainer(
        make_tiny_model(),
        arguments,
        data_collator=collate,
        train_dataset=make_rows(8),
        eval_dataset=make_rows(6),
        processing_class=PROCESSOR.image_processor,
        compute_metrics=separation,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path]:
    folder = tmp_path_factory.mktemp("trainer")
    trainer = make_trainer(folder, steps=4)
    trainer.train()
    return trainer, folder


def test_it_trains_the_parts_and_leaves_clip_as_it_is(trained) -> None:
    before, after = make_tiny_model().state_dict(), trained[0].model.state_dict()
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert changed
    assert not any(name.startswith("clip.") for name in changed)


def test_it_evaluates_scores_maps_and_the_loss(tmp_path) -> None:
    trainer = make_trainer(tmp_path, steps=1)
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] > 0
    assert -1 <= metrics["eval_separation"] <= 1
    scores, maps = trainer.predict(make_rows(6)).predictions
    with torch.no_grad():
        expected = make_tiny_model()(collate(make_rows(6))["pixel_values"])
    np.testing.assert_allclose(scores, expected.image_scores, atol=1e-5)
    np.testing.assert_allclose(maps, expected.anomaly_maps, atol=1e-5)


def test_the_best_model_is_loaded_at_the_end(trained) -> None:
    trainer = trained[0]
    best = FBCLIPModel.from_pretrained(trainer.state.best_model_checkpoint)
    for name, weight in best.state_dict().items():
        assert torch.equal(weight, trainer.model.state_dict()[name]), name


def test_a_resumed_run_equals_an_uninterrupted_one(trained, tmp_path) -> None:
    whole = make_trainer(tmp_path / "whole", steps=4)
    whole.args.load_best_model_at_end = False
    whole.train()
    resumed = make_trainer(tmp_path / "resumed", steps=4)
    resumed.args.load_best_model_at_end = False
    resumed.train(resume_from_checkpoint=trained[1] / "checkpoint-2")
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weight, rtol=0, atol=1e-6)
