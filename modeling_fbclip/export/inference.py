"""Scores images and marks what is anomalous in them, as `fbclip detect` does. Needs NumPy, Pillow and the runtime."""

import argparse
import json
import math
import os
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view as windows
from PIL import Image, ImageOps


class Model:
    def __init__(self, folder):
        config, own = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "processor_config"))
        self.settings, self.steps = own, own["image_processor"]
        patch = config["clip_config"]["vision_config"]["patch_size"]
        self.size = [self.steps["size"][side] for side in ("height", "width")]
        self.tile, self.keep_aspect = own.get("tile"), own.get("keep_aspect", False)
        side = max(self.size) if self.tile in (None, "auto") else self.tile
        self.factor = side / max(self.size)  # pixels of the image for one of the model
        self.overlap = own.get("overlap") or max(math.ceil(side / 8), math.ceil(patch * self.factor))
        self.in_patches = lambda size, factor: tuple(max(2, round(a * factor / patch)) * patch for a in size)
        if config["runtime"] == "onnx":
            session = import_module("onnxruntime").InferenceSession(folder / "model.onnx")
            names = [each.name for each in session.get_inputs()]
            self.run = lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))
        else:
            hint = {"INFERENCE_PRECISION_HINT": "f32"} if config["precision"] != "int8" else {}
            compiled = import_module("openvino").Core().compile_model(folder / "openvino_model.xml", "CPU", hint)
            self.run = lambda *inputs: [np.array(values) for values in compiled(inputs).values()]
        self.references = list(read_references(folder, patch)) if (folder / "references.json").is_file() else []

    def __call__(self, picture):
        """Score, label, map, mask and regions of an RGB picture."""
        size, sigma = (picture.height, picture.width), self.settings["smoothing_sigma"]
        tile, corners = self.tiling(size)
        whole = self.in_patches(size, max(self.size) / max(size)) if corners or self.keep_aspect else tuple(self.size)
        views, seen = [((0, 0, *picture.size), whole)], self.in_patches(tile, 1 / self.factor)
        views += [((left, top, left + tile[1], top + tile[0]), seen) for top, left in corners]
        known = self.references or [(seen,) for _, seen in views]
        if [seen for seen, *_ in known] != [seen for _, seen in views]:
            raise ValueError("its views are not those of the references; take images of their shape")
        inputs = ((self.pixels(picture, *view)[None], *own) for view, (_, *own) in zip(views, known, strict=True))
        outputs = [[one[0] for one in self.run(*own)[:2]] for own in inputs]
        score = max(self.score(*output, view[1]) for output, view in zip(outputs, views, strict=True))
        if corners:
            window = np.outer(*(np.hanning(side).clip(0.01) for side in tile)).astype(np.float32)
            total, weights = merged = np.zeros((2, *size), np.float32)
            for (_, found), (top, left) in zip(outputs[1:], corners, strict=True):
                merged[:, top : top + tile[0], left : left + tile[1]] += window * resize(found, tile), window
            found = smooth(np.maximum(total / weights, resize(outputs[0][1], size)), sigma * self.factor)
        else:
            found = resize(smooth(resize(outputs[0][1], whole), sigma).clip(0, 1), size)
        found, limits = found.clip(0, 1), self.thresholds(bool(corners))
        mask, regions = find_regions(found, found >= limits["pixel_threshold"], self.settings.get("min_area", 1))
        label = "anomalous" if score >= limits["threshold"] else "normal"
        return {"score": score, "label": label, "anomaly_map": found, "mask": mask, "regions": regions}

    def tiling(self, size):
        """Height and width of the tiles, and their top left corners; none for an image that is not cut."""
        tile = [min(length, round(side * self.factor)) for length, side in zip(size, self.size, strict=True)]
        spans = [(a - b, math.ceil((a - b) / max(b - 2 * self.overlap, 1))) for a, b in zip(size, tile, strict=True)]
        tops, lefts = ([round(i * rest / max(last, 1)) for i in range(last + 1)] for rest, last in spans)
        is_cut = self.tile != "auto" or any(length > 1.5 * side for length, side in zip(size, self.size, strict=True))
        return tile, [(top, left) for top in tops for left in lefts if is_cut and self.tile and len(tops + lefts) > 2]

    def pixels(self, picture, box, size):
        """The model's input for a part of a picture, seen at a size: (3, height, width)."""
        part = np.asarray(picture.crop(box).resize(size[::-1], self.steps["resample"]), np.float32)
        values = part * np.float32(self.steps["rescale_factor"]) - np.float32(self.steps["image_mean"])
        return (values / np.float32(self.steps["image_std"])).transpose(2, 0, 1)

    def score(self, score, found, seen):
        if self.settings["score"] == "cls" or self.references:
            return float(score)
        values = smooth(resize(found, seen), self.settings["smoothing_sigma"]).clip(0, 1).ravel()
        count = 1 if self.settings["score"] == "map_max" else math.ceil(0.01 * values.size)
        return float(np.partition(values, -count)[-count:].mean())

    def thresholds(self, is_cut):
        """Those of the way in which the model sees the image, else those of all images."""
        tiles = f" in tiles of {round(max(self.size) * self.factor)} that overlap by {self.overlap}"
        mode = "{}x{} pixels".format(*self.size) + (tiles if is_cut else ", aspect kept" * self.keep_aspect)
        is_own = self.settings.get("thresholds_mode") in (None, mode)
        return self.settings if is_own else (self.settings.get("other_thresholds") or {}).get(mode, self.settings)


def read_references(folder, patch):
    """Of each view of an image: the size that the model sees, the patches of the references there, their scale."""
    about, content = (folder / f"references.{kind}" for kind in ("json", "safetensors"))
    about, content = json.loads(about.read_text()), content.read_bytes()
    header = json.loads(content[8 : (start := 8 + int.from_bytes(content[:8], "little"))])
    for place, scale in enumerate(about["scale"]):
        entry = header[f"tiles.{place}.tokens" if place else "tokens"]
        values = np.frombuffer(content, np.float16, math.prod(entry["shape"]), start + entry["data_offsets"][0])
        grid, tokens = entry["shape"][2:4], values.reshape(entry["shape"]).astype(np.float32)
        reach = [max(2, math.ceil(about["reach"] * side)) for side in grid]
        yield tuple(side * patch for side in grid), tokens, np.float32([*scale.values(), *reach])


def resize(values, size):
    """A map, resized bilinearly."""
    for length in size:  # rows, then columns
        place = ((np.arange(length) + 0.5) * (len(values) / length) - 0.5).clip(0, len(values) - 1)
        weights = (1 - np.abs(place[:, None] - np.arange(len(values)))).clip(0)
        values = (weights.astype(np.float32) @ values).T
    return values


def smooth(values, sigma):
    """A map after a Gaussian filter that ends at 4 sigma; edges are mirrored."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-9)) ** 2)
    for _ in range(2):  # rows, then columns
        padded = np.pad(values, ((0, 0), (radius, radius)), mode="symmetric")
        values = (windows(padded, len(kernel), 1) @ np.float32(kernel / kernel.sum())).T
    return values


def find_regions(found, mask, least):
    """The mask without areas below `least` pixels, and its connected areas, the highest peak first."""
    last, labels = None, np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while not np.array_equal(labels, last):  # a pixel takes the largest label around it, then the label at that place
        last, labels = labels, np.append(0, grown := grow(labels, 1) * mask)[grown]
    order = np.argsort(labels[mask], kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[mask][order])) + 1) if mask.any() else []
    regions, kept, places = [], np.zeros_like(mask), np.argwhere(mask)
    for y, x in (places[part].T for part in parts if len(part) >= least):
        kept[y, x] = True
        box, inside = [int(side) for side in (x.min(), y.min(), x.max() + 1, y.max() + 1)], found[y, x].astype(float)
        regions.append({"box": box, "area": len(y), "peak": float(inside.max()), "mean": float(inside.mean())})
    return kept, sorted(regions, key=lambda region: -region["peak"])


def grow(values, width):
    """The largest value within `width` pixels of each, by rows and columns."""
    return windows(windows(np.pad(values, width), 2 * width + 1, 0).max(-1), 2 * width + 1, 1).max(-1)


def overlay(picture, found, mask):
    """The picture under the colours of its map, more of them the higher it is, with lines around the regions."""
    anchors = ((35, 60, 200), (30, 170, 230), (95, 210, 100), (250, 200, 40), (205, 20, 20))  # from 0 to 1
    steps, levels = np.linspace(0, 1, 256), np.rint(found * 255).astype(np.uint8)
    colours = np.stack([np.interp(steps, np.linspace(0, 1, 5), channel) for channel in zip(*anchors, strict=True)], -1)
    weights = 255 * 0.6 * steps**2 / (steps**2 + 0.25**2) * (1 + 0.25**2)
    drawn, w = picture.copy(), max(1, round(max(picture.size) / 400))
    tinted, hidden = (Image.fromarray(np.rint(table).astype(np.uint8)[levels]) for table in (colours, weights))
    drawn.paste(tinted, mask=hidden)
    grown, edge = grow(mask, w), ~np.pad(np.ones_like(mask)[w:-w, w:-w], w)[: len(mask), : mask.shape[1]]
    drawn.paste((255, 255, 255), mask=Image.fromarray((grown & ~mask) | (mask & edge)))
    drawn.paste((0, 0, 0), mask=Image.fromarray(grow(grown, max(1, w // 2)) & ~grown))
    return drawn


def read(path, max_megapixels):
    """An image file as 8-bit RGB, upright, transparent pixels white."""
    with Image.open(path) as opened:
        if opened.width * opened.height > 1e6 * max_megapixels:
            raise ValueError(f"{opened.width} x {opened.height} pixels, above {max_megapixels} megapixels")
        picture = ImageOps.exif_transpose(opened)
    if picture.mode[0] in "IF":
        raise ValueError("more than 8 bits are not read here; save the image with 8 bits")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getextrema()[3][1] > 0:  # else the channel is not in use
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="IMAGE")
    parser.add_argument("--output", default="outputs", help="folder for overlays and maps")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="form of the rows")
    given, model, rows = parser.parse_args(), Model(Path(__file__).resolve().parent), []
    above = os.path.commonpath([Path(path).absolute().parent for path in given.paths])
    for path in given.paths:
        names = ("score", "label", "error", "overlay", "map", "category", "regions")
        rows.append(row := {"path": path} | dict.fromkeys(names))
        target = Path(given.output, os.path.relpath(path, above))
        try:
            result = model(picture := read(path, model.settings["max_megapixels"]))
            row |= {name: result[name] for name in ("score", "label", "regions")}
            values = np.rint(result["anomaly_map"].astype(float) * 65535).astype(np.uint16)
            target.parent.mkdir(parents=True, exist_ok=True)
            drawn = overlay(picture, result["anomaly_map"], result["mask"])
            for name, image in (("overlay", drawn), ("map", Image.fromarray(values))):
                image.save(f"{target}.{name}.png")
                row[name] = f"{target}.{name}.png"
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            row["error"] = " ".join(str(error).split())
        if given.format == "table":
            score = "-" if row["score"] is None else f"{row['score']:.3f}"
            print(f"{score:>5}  {row['label'] or 'error':<9}  {path} → {row['error'] or row['overlay']}", flush=True)
    if given.format == "json":
        print(json.dumps(rows, indent=1))
    raise SystemExit(any(row["error"] for row in rows))
