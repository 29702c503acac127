"""Seconds that references add to an image. Called by `tests/benchmark.py`."""

import time
from statistics import median

import torch

from modeling_fbclip import FBCLIPModel
from modeling_fbclip.reference_bank_fbclip import Bank
from modeling_fbclip.reference_view_fbclip import ViewReferences
from modeling_fbclip.references_fbclip import NEAR

COUNTS = (4, 16)
REPEATS = 3


@torch.inference_mode()
def measure_references(model: FBCLIPModel) -> dict[str, float]:
    """Seconds by the number of references, of comparing one image of the model's size with random patches."""
    config = model.config
    side = config.image_size // config.clip_vision.patch_size
    width, layers = config.clip_vision.hidden_size, len(config.feature_layers)
    tokens = [torch.randn(1, 1 + side * side, width, device=model.device) for _ in range(layers)]
    logits = torch.randn(1, 1 + side * side, device=model.device)
    seconds = {}
    for count in COUNTS:
        patches = torch.nn.functional.normalize(torch.randn(count, layers, side, side, width), dim=-1).half()
        bank = Bank(patches, torch.rand(count, count, layers, side, side), torch.randn(count, 1 + side * side))
        references = ViewReferences(bank, mutual=False, reach=NEAR)
        samples = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            references.judge(tokens, logits, (side, side))
            samples.append(time.perf_counter() - start)
        seconds[str(count)] = median(samples)
    return seconds
