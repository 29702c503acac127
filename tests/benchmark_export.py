"""Exports of the bundled model and of ViT-L/14 beside PyTorch: size, seconds an image, memory, and differences.

Part of `make benchmark`; by itself: python tests/benchmark_export.py. Everything is timed in one run with the threads
that PyTorch takes, since only ratios are comparable between machines. The images are the sample photographs; the
weights of ViT-L/14 are random, so that its decisions mean nothing.
"""

import argparse
import copy
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir
import torch
from rich.console import Console
from rich.table import Table

from modeling_fbclip import FBCLIPConfig, FBCLIPModel, FBCLIPProcessor, load_bundled
from modeling_fbclip.export.folder import sample_photographs, write_graph
from modeling_fbclip.export.graph import trace
from modeling_fbclip.export.parity import compare
from modeling_fbclip.export.precision import PRECISIONS
from modeling_fbclip.runtime_fbclip import FILES, FBCLIPRuntimeModel


def measure_exports(model: FBCLIPModel, processor: FBCLIPProcessor, images: list[str]) -> dict[str, Any]:
    """Seconds and nodes of the traced graph, and a row for each runtime and precision."""
    rows = []
    with TemporaryDirectory() as name:
        traced = Path(name, "traced.onnx")
        started = time.perf_counter()
        program = trace(model)
        seconds, nodes = time.perf_counter() - started, sum(1 for _ in program.graph)
        onnx_ir.save(program, traced, external_data="traced.data")
        del program
        for to in FILES:
            for precision in PRECISIONS:
                rows.append(measure_export(model, processor, images, traced, to, precision))
    return {"seconds_of_export": seconds, "nodes": nodes, "kinds": rows}


def measure_export(
    model: FBCLIPModel, processor: FBCLIPProcessor, images: list[str], traced: Path, to: str, precision: str
) -> dict[str, Any]:
    from benchmark import measure  # here, since that file imports this one

    config = copy.deepcopy(model.config)
    config.runtime, config.precision = to, precision
    with TemporaryDirectory() as name:
        program = onnx_ir.load(traced)
        onnx_ir.external_data.load_to_model(program)
        write_graph(program, to, precision, Path(name))
        exported = FBCLIPRuntimeModel(config, name)
        size = sum(file.stat().st_size for file in exported.files())
        pixels = processor(images=images[:1])["pixel_values"]
        _, peak = measure(lambda: exported(pixel_values=pixels), model.device)  # a runtime keeps what it took
        parity = compare(model, exported, processor, images)
    return {"megabytes": size / 1e6, "peak_mb": peak, **parity.to_dict()}


def print_exports(title: str, report: dict[str, Any]) -> None:
    # The peak is that of the first call, above the loaded model; scores and maps, how far they are from PyTorch's.
    caption = f"traced in {report['seconds_of_export']:.0f} s, {report['nodes']} nodes"
    table = Table(title=title, caption=caption)
    columns = ("runtime", "weights", "MB", "peak MB", "s/image", "PyTorch s/image", "scores", "maps", "r", "kept")
    for column in columns:
        table.add_column(column)
    for row in report["kinds"]:
        table.add_row(
            row["runtime"],
            row["precision"],
            f"{row['megabytes']:.1f}",
            f"{row['peak_mb']:.0f}",
            f"{row['seconds'][row['runtime']]:.3f}",
            f"{row['seconds']['torch']:.3f}",
            f"{row['scores']['largest']:.1e}",
            f"{row['maps']['largest']:.1e}",
            f"{row['map_correlation']:.4f}",
            "yes" if row["within_bounds"] else "no",
        )
    Console(width=140).print(table)


def measure_all(small: bool) -> dict[str, Any]:
    """The bundled model and, unless `small`, ViT-L/14."""
    images = sample_photographs()
    reports = {"bundled": measure_exports(*load_bundled(), images)}
    if not small:
        torch.manual_seed(0)
        model = FBCLIPModel(FBCLIPConfig()).eval()
        reports["ViT-L/14"] = measure_exports(model, FBCLIPProcessor.from_config(model.config), images[:1])
    return reports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="the bundled model only")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark-export.json"))
    arguments = parser.parse_args()
    reports = measure_all(arguments.small)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(reports, indent=2))
    for title, report in reports.items():
        print_exports(title, report)


if __name__ == "__main__":
    main()
