"""What CLIP's vision tower and the head spend their time on, by kind of operator: one image.

Run by `make profile`, for ViT-L/14 at 518 pixels with random weights, and for the bundled model. Seconds are inside
the operators, on one thread, of the second call; only ratios are comparable between machines.
"""

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from modeling_fbclip import FBCLIPConfig, FBCLIPModel, load_bundled
from modeling_fbclip.backbone_fbclip import vision_layer_tokens

KINDS = {
    "attention": ("_scaled_dot_product_flash_attention_for_cpu",),
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "mkldnn_convolution"),
    "copies, changes of type": ("copy_", "cat", "fill_"),
    "norms, softmax": ("native_layer_norm", "linalg_vector_norm", "_softmax", "mean", "sum"),
}
OTHER = "other"
KIND_OF = {f"aten::{operator}": kind for kind, operators in KINDS.items() for operator in operators}


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    models = {"ViT-L/14": FBCLIPModel(FBCLIPConfig()).eval(), "bundled": load_bundled()[0]}
    table = Table(title="seconds, one image")
    for column in ("model", "dtype", "part", "all", *KINDS, OTHER):
        table.add_column(column)
    for (name, model), dtype in product(models.items(), (torch.bfloat16, torch.float32)):
        for part, call in parts_of(model.to(dtype)).items():
            call()
            seconds = seconds_by_kind(call)
            cells = [seconds.total(), *(seconds[kind] for kind in (*KINDS, OTHER))]
            table.add_row(name, str(dtype), part, *(f"{cell:.3f}" for cell in cells))
    Console(width=140).print(table)


def parts_of(model: FBCLIPModel) -> dict[str, Callable[[], Any]]:
    config = model.config
    pixels = torch.randn(1, 3, config.image_size, config.image_size, dtype=model.dtype)
    tower = model.clip.vision_model
    tokens = vision_layer_tokens(tower, pixels, config.feature_layers)
    text_embeds = model.get_text_features()
    return {
        "vision tower": lambda: vision_layer_tokens(tower, pixels, config.feature_layers),
        "head": lambda: model(layer_tokens=tokens, text_embeds=text_embeds),
    }


def seconds_by_kind(call: Callable[[], Any]) -> Counter[str]:
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        call()
    seconds: Counter[str] = Counter()
    for operator in profiled.key_averages():
        seconds[KIND_OF.get(operator.key, OTHER)] += operator.self_cpu_time_total / 1e6
    return seconds


if __name__ == "__main__":
    main()
