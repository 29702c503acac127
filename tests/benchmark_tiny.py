"""The bundled model on labelled data sets, beside simple baselines and itself with parts left out, per kind of defect.

Run by `make benchmark-tiny DATA=FOLDER`, a folder of data sets (or one) of any layout that `fbclip datasets check`
knows. Prints a table for each set and writes `outputs/benchmark-tiny.json`; with `--record` also the file that the
model's card takes its figures from.
"""

import argparse
import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmark_tiles import measure_modes, print_modes
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.data.layouts import ROOT_CATEGORY, recognise
from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.evaluation import compute_metrics
from modeling_fbclip.evaluation.predict import EVALUATION_SIZE
from modeling_fbclip.maps_fbclip import smooth_maps
from modeling_fbclip.results_fbclip import SCORES, one_output
from modeling_fbclip.scoring_fbclip import Background, anomaly_logits, background_feature, suppress_and_project

RECORD = Path(__file__).parent.parent / "modeling_fbclip" / "bundled" / "evaluation.json"
VIEWS = {"identity": "ID", "semantic": "SEM", "spatial": "SPA"}
WHOLE = "FB-CLIP (bundled)"
BASELINE_SIGMA = 4.0  # the processor's default, however the model's own maps are smoothed
BASELINES = ("contrast filter", "distance to mean feature")
SIMPLER = ("patch · text", "identity view alone", *(f"without {name} view" for name in VIEWS), "without suppression")
METRICS = {"pixel_auroc": "pixel AUROC", "pixel_aupro": "AUPRO exact", "image_auroc": "image AUROC"}
Found = dict[str, tuple[float, Tensor]]  # image score and map in [0, 1] of each method


class Reading:
    """Score and map, the latter at the size that is evaluated, of a model's output or a baseline's map.

    Smoothed by `sigma`, in pixels at the size that the model sees.
    """

    def __init__(self, processor: FBCLIPProcessor, sigma: float, score: str) -> None:
        self.scoring = FBCLIPProcessor(processor.image_processor, smoothing_sigma=sigma, score=score)
        larger = EVALUATION_SIZE / processor.image_size[0]
        self.evaluation = FBCLIPProcessor(image_size=EVALUATION_SIZE, smoothing_sigma=sigma * larger)

    def __call__(self, output: Any) -> tuple[float, Tensor]:
        anomaly_map = self.evaluation.map_of_views([one_output(output, 0)], self.evaluation.image_size)
        return self.scoring.image_scores(output).item(), anomaly_map


class Methods:
    """All methods on one image."""

    def __init__(self, model: FBCLIPModel, processor: FBCLIPProcessor) -> None:
        self.model, self.processor = model, processor
        self.grid = tuple(side // model.config.patch_size for side in processor.image_size)
        self.readings = {score: Reading(processor, processor.smoothing_sigma, score) for score in SCORES}
        self.baseline = Reading(processor, BASELINE_SIGMA, "map_max")

    @torch.inference_mode()
    def __call__(self, image: Any) -> Found:
        """Scores and maps, the latter at the size that is evaluated."""
        pixel_values = self.processor(images=image)["pixel_values"]
        output = self.model(pixel_values, output_stages=True)
        stages, text = output.stages, output.text_embeds
        found = {f"{WHOLE}, score {name}": reading(output) for name, reading in self.readings.items()}
        found |= {WHOLE: self.readings[self.processor.score](output)}
        variants = {"identity view alone": {"identity"}}
        variants |= {f"without {left_out} view": set(VIEWS) - {left_out} for left_out in VIEWS}
        for name, kept in variants.items():
            found[name] = self._mapped(self._logits(stages, text, kept, self.model.config.suppression_weight))
        found["without suppression"] = self._mapped(self._logits(stages, text, set(VIEWS), 0.0))
        found["patch · text"] = self._mapped(self._plain_logits(stages, text))
        found["distance to mean feature"] = self._of_map(self._mean_distance(stages))
        found["contrast filter"] = self._of_map(contrast(image, self.processor.image_size))
        return found

    def _logits(self, stages: dict[str, Tensor], text: Tensor, kept: set[str], suppression: float) -> Tensor:
        """FB-CLIP's logits of some of its views, (1, N)."""
        model, layers = self.model, range(len(self.model.config.feature_layers))
        maps = {
            (layer, name): stages[f"layer{layer}.{VIEWS[name]}.attended"]
            for layer in layers
            for name in VIEWS
            if name in kept
        }
        config, projection = model.config, model.clip.visual_projection
        attended = torch.stack(list(maps.values()))
        background = background_feature([attended], config.background_fraction, config.background_max_weight)
        weights, logits = model.scale_weights.softmax(0), torch.zeros(())
        for (layer, _), tokens in maps.items():
            embeds = suppress_and_project(tokens, Background.of(background, projection), projection, suppression)
            logits = logits + weights[layer] * anomaly_logits(embeds, text, config.temperature)
        return logits * len(VIEWS) / len(kept)

    def _plain_logits(self, stages: dict[str, Tensor], text: Tensor) -> Tensor:
        """Every layer's tokens through CLIP's last norm and projection against the two texts, (1, N)."""
        clip, layers = self.model.clip, range(len(self.model.config.feature_layers))
        embeds = [
            clip.visual_projection(clip.vision_model.post_layernorm(stages[f"layer{layer}.tokens"]))
            for layer in layers
        ]
        return torch.stack([anomaly_logits(each, text, self.model.config.temperature) for each in embeds]).mean(0)

    def _mean_distance(self, stages: dict[str, Tensor]) -> Tensor:
        """Cosine distance of each patch to the image's mean, averaged over layers, (1, height, width) in [0, 1]."""
        found = []
        for layer in range(len(self.model.config.feature_layers)):
            patches = F.layer_norm(stages[f"layer{layer}.tokens"][:, 1:], (self.model.config.clip_vision.hidden_size,))
            found.append((1 - F.cosine_similarity(patches, patches.mean(1, keepdim=True), dim=-1)) / 2)
        return torch.stack(found).mean(0).unflatten(1, self.grid)

    def _mapped(self, logits: Tensor) -> tuple[float, Tensor]:
        output = {
            "image_scores": logits[:, 0].sigmoid(),
            "anomaly_maps": logits[:, 1:].sigmoid().unflatten(1, self.grid),
        }
        return self.readings[self.processor.score](output)

    def _of_map(self, anomaly_map: Tensor) -> tuple[float, Tensor]:
        return self.baseline({"image_scores": anomaly_map.amax((1, 2)), "anomaly_maps": anomaly_map})


def contrast(image: Any, size: tuple[int, int], sigma: float = 8.0) -> Tensor:
    """How far each pixel is from its blurred surroundings, (1, height, width) in [0, 1]."""
    grey = np.asarray(image.convert("L").resize(size[::-1]), dtype=np.float32) / 255
    grey = torch.from_numpy(grey)[None]
    return (grey - smooth_maps(grey, sigma)).abs()


def measure(methods: Methods, path: Path) -> dict[str, Any]:
    """The rows of one data set: all of it, and each kind of defect against all normal images."""
    dataset = load_anomaly_dataset(path)
    found: list[Found] = []
    truths, labels, kinds = [], [], []
    for row in track(dataset, description=path.name, total=len(dataset)):
        found.append(methods(row["image"].convert("RGB")))
        known = row["mask"] is not None or not row["label"]
        truths.append(
            methods.baseline.evaluation(masks=[row["mask"]])["mask_labels"][0].numpy() > 0 if known else None
        )
        labels.append(int(row["label"]))
        kinds.append(str(row["defect"]) if row["label"] else None)
    anomalous = sorted({kind for kind in kinds if kind is not None})
    selections: dict[str, Callable[[str | None], bool]] = {"all": lambda _: True}
    if len(anomalous) > 1:
        selections |= {kind: lambda own, kind=kind: own in (None, kind) for kind in anomalous}
    rows = [
        row
        for kind, selected in selections.items()
        for row in rows_of(found, truths, labels, [index for index, own in enumerate(kinds) if selected(own)], kind)
    ]
    facts = {"images": len(dataset), "anomalous": sum(labels)}
    return (
        {"name": path.name}
        | facts
        | verdicts({row["method"]: row for row in rows if row["kind"] == "all"})
        | {"rows": rows}
    )


def verdicts(methods: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What may be claimed: metrics in which the model beats both baselines, and parts that cost something."""
    whole = methods[WHOLE]
    better = [
        label
        for name, label in METRICS.items()
        if whole[name] is not None and all(whole[name] > methods[baseline][name] for baseline in BASELINES)
    ]
    result = {"better_than_both_baselines": ", ".join(better) or "in nothing"}
    for metric, label in (("pixel_aupro", "AUPRO"), ("image_auroc", "image_AUROC")):
        if whole[metric] is not None:
            gains = {name: methods[name][metric] - whole[metric] for name in SIMPLER}
            simpler = [f"{name} (by {100 * gain:.1f})" for name, gain in gains.items() if gain > 0]
            result[f"better_in_{label}_than_the_whole"] = ", ".join(simpler) or "nothing simpler"
    return result


def rows_of(
    found: list[Found], truths: list[Any], labels: list[int], chosen: list[int], kind: str
) -> Iterator[dict[str, Any]]:
    """One row a method for the chosen images; parts left out are shown for all of them together only."""
    wanted = found[0] if kind == "all" else (WHOLE, "patch · text", *BASELINES)
    with_mask = [index for index in chosen if truths[index] is not None]
    if not any(truths[index].any() for index in with_mask):
        with_mask = []
    for method in wanted:
        metrics = compute_metrics(
            [found[index][method][1].numpy() for index in with_mask],
            [truths[index] for index in with_mask],
            [found[index][method][0] for index in chosen],
            [labels[index] for index in chosen],
        )
        yield {"kind": kind, "method": method} | {name: metrics[name] for name in METRICS}


def print_table(result: dict[str, Any]) -> None:
    """Percent, a row a method."""
    table = Table(title=f"{result['name']}: {result['images']} images, {result['anomalous']} anomalous; percent")
    for name in ("kind", "method"):
        table.add_column(name)
    for name in METRICS.values():
        table.add_column(name, justify="right")
    previous = None
    for row in result["rows"]:
        if previous not in (None, row["kind"]):
            table.add_section()
        previous = row["kind"]
        numbers = ["n/a" if row[name] is None else f"{100 * row[name]:.1f}" for name in METRICS]
        table.add_row(row["kind"], row["method"], *numbers)
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a data set, or a folder of them")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark-tiny.json"))
    parser.add_argument("--record", action="store_true", help="also write the file that the card is made from")
    parser.add_argument("--tile", default="auto", type=lambda text: text if text == "auto" else int(text))
    arguments = parser.parse_args()
    try:
        folders = list(data_sets(arguments.data))
    except (OSError, ValueError) as error:
        parser.exit(2, f"{arguments.data}: {error}\n")
    detector = load_detector(device="cpu")
    methods = Methods(detector.model, detector.processor)
    results = []
    for folder in folders:
        results.append(measure(methods, folder))
        print_table(results[-1])
        results[-1]["views"] = measure_modes(detector, load_anomaly_dataset(folder), arguments.tile)
        print_modes(folder.name, results[-1]["views"])
    machine = (
        f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    )
    report = {"command": "make benchmark-tiny", "machine": machine, "size": EVALUATION_SIZE, "sets": results}
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    for path in [arguments.output, *([RECORD] if arguments.record else [])]:
        path.write_text(text, encoding="utf-8")


def data_sets(folder: Path) -> Iterator[Path]:
    """The folder itself if it is a single category; else those of its folders that are data sets; else itself.

    Raises:
        ValueError: If there is none.
    """
    if is_category(folder):
        yield folder
        return
    readable = [path for path in sorted(folder.iterdir()) if path.is_dir() and is_data_set(path)]
    if not readable and not is_data_set(folder):
        raise ValueError("holds no data set of a known layout; see `fbclip datasets check`")
    yield from readable or [folder]


def is_category(folder: Path) -> bool:
    """Whether its own folders tell good from bad, as those of a folder of data sets do not."""
    try:
        found = recognise(folder)
    except (OSError, ValueError):
        return False
    return found.root == folder and list(found.splits.get("test", [])) == [ROOT_CATEGORY]


def is_data_set(folder: Path) -> bool:
    try:
        return len(load_anomaly_dataset(folder)) > 0
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    main()
