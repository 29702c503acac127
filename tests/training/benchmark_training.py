"""Seconds and peak memory of a training step, compared with the literal head, and the time saved by the cache.

Called by `tests/benchmark.py`. The tower's tokens are given. A step is the forward and backward pass of all trained
parts, with the text branch, for one image in float32.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import reference
import torch
from accelerate import Accelerator
from datasets import Dataset
from PIL import Image

from conftest import in_official_names
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.backbone_fbclip import vision_layer_tokens
from modeling_fbclip.training import FBCLIPTrainingArguments, train
from modeling_fbclip.training.feature_cache import FeatureCache
from modeling_fbclip.training.log import read_log
from modeling_fbclip.training.record import digest_rows
from modeling_fbclip.training.setup import prepare_model

Measure = Callable[[Callable[[], Any], torch.device], tuple[float, float]]
STEPS = ("training step", "with activation checkpointing", "reference step")
CACHED_IMAGES = 4


def measure_training(model: FBCLIPModel, measure: Measure, repeats: int = 3) -> dict[str, Any]:
    """All figures of training. `measure` returns the seconds and the peak memory in MB of a call on a device."""
    steps = measure_steps(model, measure, repeats)
    ours, checkpointing, literal = steps
    return {
        "steps": steps,
        "times_faster": literal["seconds"] / ours["seconds"],
        "memory_share": ours["peak_mb"] / literal["peak_mb"],
        "times_faster_with_checkpointing": literal["seconds"] / checkpointing["seconds"],
        "memory_share_with_checkpointing": checkpointing["peak_mb"] / literal["peak_mb"],
        "cache": measure_cache(model),
    }


def measure_steps(model: FBCLIPModel, measure: Measure, repeats: int) -> list[dict[str, Any]]:
    """One row for each kind of step. The kinds are measured in turn, after one step that warms up."""
    prepare_model(model, FBCLIPTrainingArguments("unused", gradient_checkpointing=True))
    size = model.config.image_size
    pixels = torch.randn(1, 3, size, size, device=model.device)
    labels, masks = torch.ones(1, device=model.device), torch.zeros(1, size, size, device=model.device)
    masks[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    with torch.no_grad():
        tokens = vision_layer_tokens(model.clip.vision_model, pixels, model.config.feature_layers)

    def step(checkpointing: bool) -> None:
        model.zero_grad()
        model.gradient_checkpointing = checkpointing
        model(layer_tokens=tokens, labels=labels, mask_labels=masks).loss.backward()

    calls = (partial(step, False), partial(step, True), literal_step(model, tokens, labels, masks))
    step(False)
    samples = [[measure(call, model.device) for call in calls] for _ in range(repeats)]
    model.gradient_checkpointing = False
    model.zero_grad()
    return [
        {"part": name, "seconds": median(s for s, _ in own), "peak_mb": min(peak for _, peak in own)}
        for name, own in zip(STEPS, zip(*samples, strict=True), strict=True)
    ]


def literal_step(
    model: FBCLIPModel, tokens: list[torch.Tensor], labels: torch.Tensor, masks: torch.Tensor
) -> Callable[[], None]:
    """The same step with the literal head and copies of the same weights."""
    config = model.config
    side = config.image_size // config.patch_size
    prompts = torch.tensor(config.prompt_input_ids, device=model.device)
    projection = model.clip.visual_projection.weight
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    parameters = {name: w.detach().clone().requires_grad_() for name, w in in_official_names(trained).items()}

    def step() -> None:
        for weight in parameters.values():
            weight.grad = None
        text = reference.text_features(model.clip, parameters, prompts, config)
        stages = reference.head_stages(tokens, text, (side, side), parameters, projection, config)
        consistency = reference.consistency_loss(stages["last_view_projected"], text, config)
        scores, maps = stages["image_scores"], stages["anomaly_maps"]
        reference.losses(scores, maps, consistency, labels, masks, config)["loss"].backward()

    return step


def measure_cache(model: FBCLIPModel) -> dict[str, float]:
    """
    Seconds for each image, in batches of one: to fill the cache, which is part of epoch 1, and to train with and
    without it. All epochs that do not fill the cache take the same time.
    """
    generator = np.random.default_rng(0)
    size = model.config.image_size
    pictures = generator.integers(0, 256, (CACHED_IMAGES, size, size, 3), dtype=np.uint8)
    rows = {"image": [Image.fromarray(picture) for picture in pictures], "label": [0, 1] * (CACHED_IMAGES // 2)}
    dataset = Dataset.from_dict(rows)
    processor = FBCLIPProcessor.from_config(model.config)
    with tempfile.TemporaryDirectory() as folder:

        def seconds_an_image(name: str, cache: Path | None) -> float:
            args = FBCLIPTrainingArguments(Path(folder, name), epochs=1, batch_size=1, cache_features=cache)
            train(model, processor, dataset, args)
            # The first step warms up.
            return median(1 / line["images_per_second"] for line in read_log(Path(folder, name))[1:])

        without = seconds_an_image("without", None)
        cache = FeatureCache(Path(folder, "cache"), model, processor, torch.bfloat16)
        accelerator = Accelerator()
        rows_to_cache = dataset.add_column(
            "digest", [digest.image for digest in digest_rows(dataset, processor, accelerator)]
        )
        start = time.perf_counter()
        cache.fill(rows_to_cache, model, processor, 1, accelerator)
        fill = (time.perf_counter() - start) / CACHED_IMAGES
        with_cache = seconds_an_image("with", Path(folder, "cache"))
    return {"fill": fill, "with": with_cache, "without": without}
