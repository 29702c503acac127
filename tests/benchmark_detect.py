"""What `fbclip detect` costs beside the model: work on an image, images a second, and memory over many images.

Part of `make benchmark`; by itself, `.venv/bin/python tests/benchmark_detect.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPConfig, FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.image_finder import ImageFinder
from modeling_fbclip.detection.processes import ALONE
from modeling_fbclip.detection.rendering import map_to_png16, render_overlay
from modeling_fbclip.detection.results import PNG_SETTINGS, Results
from modeling_fbclip.detection.row_files import Done
from modeling_fbclip.detection.rows import Row
from modeling_fbclip.detection.run import detect_all
from modeling_fbclip.detection.sources import open_images
from modeling_fbclip.images_fbclip import load_rgb_image

EXAMPLES = Path(__file__).parents[1] / "demo" / "examples"
SIDE = 1024
COUNTS = (300, 3000)
LARGE_TILE = 2048  # 48 tiles; smaller ones take longer, and not more memory
# A model that takes little beside the pictures, at the image size and patch size of the paper.
FAST = {
    "clip_config": {
        "projection_dim": 32,
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "patch_size": 14,
            "image_size": 336,
        },
    },
    "feature_layers": [1],
    "attention_heads": 1,
    "attention_head_dim": 8,
}
# The system's own count of a child's memory would begin with that of this process.
RUN_AND_TELL_PEAK = """
import atexit, pathlib
status = lambda: pathlib.Path("/proc/self/status").read_text().splitlines()
atexit.register(lambda: print(*(line for line in status() if line.startswith("VmHWM"))))
from modeling_fbclip.cli.__main__ import main
main()
"""


def measure_detect(config: FBCLIPConfig) -> dict[str, Any]:
    """
    Milliseconds an image of one megapixel and bytes written for it; images a second of the walk and of the model in
    it, a small one and that of `config`; megabytes of a process over many images.
    """
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        processor = FBCLIPProcessor.from_config(config)
        found = {
            name: measure_walk(Detector(FBCLIPModel(own).eval(), processor), count, Path(folder, name))
            for name, own, count in (("fast model", FBCLIPConfig(**FAST), 32), ("slow model", config, 8))
        }
        torch.set_num_threads(1)
        try:
            large = measure_large(Path(folder))
            return found | {"image": measure_image(Path(folder)), "many": measure_many(Path(folder)), "large": large}
        finally:
            torch.set_num_threads(threads)


def measure_walk(detector: Detector, count: int, folder: Path) -> dict[str, float]:
    """
    The walk of `fbclip detect` on a folder of one-megapixel JPEGs, with overlays and maps, and the model alone on the
    same images, in turn: images a second of both, and processor seconds an image outside of the model.
    """
    (folder / "parts").mkdir(parents=True)
    examples = sorted(EXAMPLES.glob("*.jpg"))
    for index in range(count):
        photo = (
            Image.open(examples[index % len(examples)]).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        )
        photo.save(folder / "parts" / f"{index:03}.jpg", quality=90)
    source = open_images([str(folder / "parts")], ImageFinder(False, folder / "out"), None, batch_size=4)
    results = Results(detector, source.folder, folder / "out", overlays=True, maps=True)
    rows: list[Row] = []

    def walk() -> None:
        detect_all(source, results, ALONE, Done([]), lambda _, row: rows.append(row), lambda: None)

    inputs = [detector.prepare(load_rgb_image(path)) for path in sorted((folder / "parts").iterdir())]

    def run_model() -> None:
        for start in range(0, count, 4):
            detector.run(inputs[start : start + 4])

    run_model()
    wall: dict[str, list[float]] = {"walk": [], "model": []}
    busy: dict[str, list[float]] = {"walk": [], "model": []}
    for _ in range(2):
        for name, call in (("walk", walk), ("model", run_model)):
            start, start_busy = time.perf_counter(), time.process_time()
            call()
            wall[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - start_busy)
    assert all(row.error is None for row in rows)
    return {
        "images a second": count / median(wall["walk"]),
        "images a second of the model alone": count / median(wall["model"]),
        "share of the model's own rate": median(wall["model"]) / median(wall["walk"]),
        "processor seconds an image outside of the model": (median(busy["walk"]) - median(busy["model"])) / count,
    }


def measure_image(folder: Path) -> dict[str, float]:
    """On one thread, medians over four sample photographs that were enlarged, three times each."""
    processor = FBCLIPProcessor.from_config(FBCLIPConfig())
    found: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        found.setdefault(name, []).append(1000 * (time.perf_counter() - start))
        return result

    for example in 3 * sorted(EXAMPLES.glob("*.jpg"))[:4]:
        path = folder / "photo.jpg"
        Image.open(example).convert("RGB").resize((SIDE, SIDE)).save(path, quality=90)
        outputs = {"image_scores": torch.rand(1), "anomaly_maps": torch.rand(1, 37, 37)}
        picture = timed("decode", lambda path=path: load_rgb_image(path))
        timed("resize and normalise", lambda picture=picture: processor(images=picture))
        (result,) = timed(
            "map",
            lambda outputs=outputs: processor.post_process_anomaly_detection(outputs, target_sizes=[(SIDE, SIDE)]),
        )
        overlay = timed(
            "overlay",
            lambda picture=picture, result=result: render_overlay(picture, result["anomaly_map"], result["mask"]),
        )
        timed("overlay as PNG", lambda overlay=overlay: overlay.save(folder / "overlay.png", **PNG_SETTINGS))
        timed(
            "map as PNG",
            lambda result=result: map_to_png16(result["anomaly_map"]).save(folder / "map.png", **PNG_SETTINGS),
        )
    sizes = {f"{name}_bytes": (folder / name).stat().st_size for name in ("photo.jpg", "overlay.png", "map.png")}
    return {name: median(times) for name, times in found.items()} | sizes


def measure_many(folder: Path) -> dict[str, float]:
    """A tiny model's peak memory after few and many images, bytes a row, and seconds to skip all that is done."""
    model = make_tiny_model()
    model.save_pretrained(folder / "model")
    FBCLIPProcessor.from_config(model.config).save_pretrained(folder / "model")
    (folder / "parts").mkdir()
    result: dict[str, float] = {}
    for start, count in zip((0, *COUNTS), COUNTS, strict=False):
        for index in range(start, count):
            Image.new("RGB", (64, 64), (index % 256, index // 256, 0)).save(folder / "parts" / f"{index:05}.png")
        result[f"peak MB after {count}"], _ = run_detect(folder, f"after-{count}")
    rows = (folder / f"after-{COUNTS[-1]}" / "rows-00000-of-00001.jsonl").read_bytes().splitlines()
    assert len(rows) == COUNTS[-1]
    assert json.loads(rows[0])["error"] is None
    _, nothing = run_detect(folder, "one", photographs="parts/00000.png")
    _, skipping = run_detect(folder, f"after-{COUNTS[-1]}")
    return result | {"bytes a row": median(map(len, rows)), f"seconds to skip {COUNTS[-1]}": skipping - nothing}


def measure_large(folder: Path) -> dict[str, float]:
    """The bundled model's memory and seconds for a scan of 108 megapixels in tiles, with overlay, map and regions."""
    Image.new("RGB", (64, 64)).save(folder / "small.png")
    scan = Image.effect_noise((120, 90), 60).convert("RGB").resize((12_000, 9_000), Image.Resampling.BICUBIC)
    scan.save(folder / "scan.jpg", quality=90)
    options = ("--tile", str(LARGE_TILE))
    before, _ = run(folder, "detect", "small.png", "--output", "small", *options)
    peak, seconds = run(folder, "detect", "scan.jpg", "--output", "scan", *options)
    with Image.open(folder / "scan" / "scan.jpg.overlay.png") as overlay:
        assert overlay.size == (12_000, 9_000)
    return {"peak MB above a small image": peak - before, "seconds": seconds}


def run_detect(folder: Path, output: str, photographs: str = "parts") -> tuple[float, float]:
    """Peak megabytes and seconds of one run, which goes on where it was."""
    arguments = ["detect", photographs, "--model", "model", "--output", output, "--resume"]
    return run(folder, *arguments, "--no-overlays", "--no-maps", "--format", "jsonl")


def run(folder: Path, *arguments: str) -> tuple[float, float]:
    """Peak megabytes and seconds of a command in a folder."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN_AND_TELL_PEAK, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    return int(done.stdout.split()[-2]) * 1024 / 1e6, seconds


if __name__ == "__main__":
    for part, figures in measure_detect(FBCLIPConfig()).items():
        for name, value in figures.items():
            print(f"{part}, {name}: {value:.3g}")
