"""Seconds and peak memory of FB-CLIP at real size: CLIP's vision tower, the whole model, the head, the literal head,
and of a training step (`training/benchmark_training.py`).

Run by `make benchmark`. Weights and images are random. Everything is timed in one run, the parts in turn, since only
ratios are comparable between machines; medians over the repeats count. Memory is the peak above what is resident
before the part starts.
"""

import argparse
import ctypes
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from benchmark_detect import measure_detect
from benchmark_export import measure_all, print_exports
from benchmark_reference_cost import measure_references
from evaluation.benchmark_aupro import measure_aupro
from reference import reference_head
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode
from training.benchmark_training import measure_training

from conftest import in_official_names
from modeling_fbclip import FBCLIPConfig, FBCLIPModel
from modeling_fbclip.backbone_fbclip import vision_layer_tokens
from modeling_fbclip.detection.loading import computes_bfloat16

SMALL = {
    "clip_config": {
        "projection_dim": 128,
        "vision_config": {
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_attention_heads": 4,
            "num_hidden_layers": 6,
            "patch_size": 16,
            "image_size": 224,
        },
    },
    "image_size": 224,
    "feature_layers": [2, 4, 6],
}
PARTS = ("vision tower", "whole model", "whole model, compiled", "head", "reference head")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a small model instead of ViT-L/14 at 518 pixels")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark.json"))
    arguments = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    config = FBCLIPConfig(**(SMALL if arguments.small else {}))
    model = FBCLIPModel(config).eval().to(device)
    training = measure_training(model, measure)
    model.requires_grad_(False)  # the counter's hooks need gradients of what requires them
    flops, references = count_flops(model), measure_references(model)
    rows = []
    dtypes = [torch.float32, torch.bfloat16, *([torch.float16] if device.type == "cuda" else [])]
    if not computes_bfloat16(device.type):
        dtypes.remove(torch.bfloat16)
        print("bfloat16 is not timed: this processor would emulate it, which takes minutes an image")
    for dtype in dtypes:
        model = model.to(dtype)
        for batch_size, repeats in ((1, 3), (4, 1)):
            rows += measure_parts(model, batch_size, repeats)
    report = {
        "machine": describe_machine(device),
        "image_size": config.image_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "measurements": rows,
        "tflop": flops,
        "training": training,
        "aupro": measure_aupro(),
        "detect": measure_detect(config),
        "references": references,
        "exports": measure_all(arguments.small),
        "ratios": [ratios(rows[start : start + len(PARTS)]) for start in range(0, len(rows), len(PARTS))],
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2))
    print_report(report, arguments.output)


@torch.inference_mode()
def count_flops(model: FBCLIPModel) -> dict[str, float]:
    """10¹² floating point operations an image, text features kept; on a CPU, without the products of attention."""
    size = model.config.image_size
    pixels = torch.zeros(1, 3, size, size, device=model.device)
    model(pixels)
    found = {}
    calls = {
        "vision tower": lambda: vision_layer_tokens(model.clip.vision_model, pixels, model.config.feature_layers),
        "whole model": lambda: model(pixels),
    }
    for name, call in calls.items():
        with FlopCounterMode(display=False) as counter:
            call()
        found[name] = counter.get_total_flops() / 1e12
    return found


@torch.inference_mode()
def measure_parts(model: FBCLIPModel, batch_size: int, repeats: int) -> list[dict[str, Any]]:
    """One row a part: seconds and peak memory in MB, for this batch size and the model's dtype."""
    config = model.config
    side = config.image_size // config.clip_config.vision_config.patch_size
    pixels = torch.randn(batch_size, 3, config.image_size, config.image_size, device=model.device, dtype=model.dtype)

    def tower() -> list[torch.Tensor]:
        return vision_layer_tokens(model.clip.vision_model, pixels, config.feature_layers)

    text_embeds = model(pixels[:1]).text_embeds  # also warms up, and fills the cache of text features
    tokens = tower()
    parameters = in_official_names(model.state_dict())
    projection = model.clip.visual_projection.weight
    compiled = torch.compile(model, fullgraph=True)
    compiled(pixels)  # compiles
    calls = {
        "vision tower": tower,
        "whole model": lambda: model(pixels),
        "whole model, compiled": lambda: compiled(pixels),
        "head": lambda: model(layer_tokens=tokens, text_embeds=text_embeds, grid=(side, side)),
        "reference head": lambda: reference_head(
            tokens, text_embeds.to(model.dtype), (side, side), parameters, projection, config
        ),
    }
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in PARTS}
    for _ in range(repeats):
        for name, call in calls.items():
            samples[name].append(measure(call, model.device))
    seconds = {name: [sample[0] for sample in samples[name]] for name in PARTS}
    dtype = str(model.dtype).removeprefix("torch.")
    return [
        {
            "dtype": dtype,
            "batch_size": batch_size,
            "part": name,
            "seconds": median(seconds[name]),
            "to_vision_tower": median(a / b for a, b in zip(seconds[name], seconds["vision tower"], strict=True)),
            "peak_mb": min(sample[1] for sample in samples[name]),
        }
        for name in PARTS
    ]


def measure(call: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Wall-clock seconds and peak memory in MB above what is held before."""
    before = reset_peak(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else process_status("VmHWM")
    return seconds, (peak - before) / 1e6


def reset_peak(device: torch.device) -> int:
    """Forget the peak so far; returns the bytes held now. On a CPU this needs Linux."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # hand freed blocks back, or they hide what is used again
    Path("/proc/self/clear_refs").write_text("5")
    return process_status("VmRSS")


def process_status(field: str) -> int:
    """A size of this process in bytes, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def ratios(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The comparisons of one dtype and batch size."""
    by_part = {row["part"]: row for row in rows}
    reference = by_part["reference head"]["to_vision_tower"]
    return {
        "dtype": rows[0]["dtype"],
        "batch_size": rows[0]["batch_size"],
        "whole_model_to_vision_tower": by_part["whole model"]["to_vision_tower"],
        "compiled_model_to_vision_tower": by_part["whole model, compiled"]["to_vision_tower"],
        "vision_tower_and_reference_head_to_vision_tower": 1 + reference,
        "reference_head_to_head": reference / by_part["head"]["to_vision_tower"],
    }


def describe_machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    name = names[0] if names else platform.machine()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def print_report(report: dict[str, Any], output: Path) -> None:
    table = Table(title=f"{report['machine']}, images of {report['image_size']} pixels")
    for column in ("dtype", "batch", "part", "seconds", "peak MB"):
        table.add_column(column, justify="left" if column in ("dtype", "part") else "right")
    steps = [{"dtype": "float32", "batch_size": 1} | row for row in report["training"]["steps"]]
    for row in report["measurements"] + steps:
        table.add_row(
            row["dtype"], str(row["batch_size"]), row["part"], f"{row['seconds']:.2f}", f"{row['peak_mb']:.0f}"
        )
    console = Console(width=max(Console().width, 100))
    console.print(table)
    for row in report["ratios"]:
        console.print(
            f"{row['dtype']}, batch {row['batch_size']}: whole model {row['whole_model_to_vision_tower']:.2f} times "
            f"the vision tower, {row['compiled_model_to_vision_tower']:.2f} compiled "
            f"({row['vision_tower_and_reference_head_to_vision_tower']:.2f} with the literal head), "
            f"head {row['reference_head_to_head']:.1f} times faster than that"
        )
    for part, count in report["tflop"].items():
        console.print(f"{part}: {count:.2f} TFLOP an image, without attention's products on a CPU")
    print_training(report["training"], console)
    for title, exports in report["exports"].items():
        print_exports(title, exports)
    aupro = report["aupro"]
    console.print(
        f"exact AUPRO of {aupro['maps']} maps of 518 pixels: {aupro['aupro_seconds']:.1f} s; the published one by a "
        f"loop over 200 thresholds: {aupro['published_loop_seconds']:.0f} s"
    )
    for part, figures in report["detect"].items():
        for name, value in figures.items():
            console.print(f"fbclip detect, {part}, {name}: {value:.3g}")
    whole = next(row["seconds"] for row in report["measurements"] if row["part"] == "whole model")
    for count, seconds in report["references"].items():
        console.print(f"{count} references add {seconds:.2f} s to an image, {100 * seconds / whole:.0f} %, in float32")
    console.print(f"Written to {output}")


def print_training(training: dict[str, Any], console: Console) -> None:
    console.print(
        f"training step {training['times_faster']:.1f} times faster than the literal head's, in "
        f"{training['memory_share']:.2f} of its memory; with activation checkpointing "
        f"{training['times_faster_with_checkpointing']:.1f} times faster, in "
        f"{training['memory_share_with_checkpointing']:.2f}"
    )
    cache = training["cache"]
    console.print(
        f"training, seconds an image: {cache['without']:.1f} without the feature cache; with it "
        f"{cache['fill'] + cache['with']:.1f} in epoch 1, {cache['with']:.1f} from epoch 2 on "
        f"({cache['without'] / cache['with']:.1f} times faster)"
    )


if __name__ == "__main__":
    main()
