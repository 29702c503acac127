"""
`make figure` writes the README's figures of the bundled model: `demo/heatmaps.jpg`, all sample photographs;
`demo/references.jpg`, one of them by the texts alone, with good images, and mutually; `demo/tiles.jpg`, a larger one
squashed and in tiles; and `demo/report.webp`, the
report of all of them in Chromium.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw

from modeling_fbclip import FBCLIPReferences
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.detection.rendering import render_overlay

DEMO = Path(__file__).parent
EXAMPLES = DEMO / "examples"
SIDE, CAPTION = 160, 16
CAP = (100, 40, 228, 168)  # the part of the photograph with the bottle cap, as large as a quarter of it


def main() -> None:
    detect = load_detector()
    draw_samples(detect, sorted(EXAMPLES.glob("*.jpg")), columns=4).save(DEMO / "heatmaps.jpg", quality=85)
    draw_references(detect)
    draw_tiles(detect)
    draw_report()


def draw_samples(detect: Detector, paths: Sequence[Path], columns: int) -> Image.Image:
    """Photographs, each with its heatmap beside it, its score and its label."""
    rows = -(-len(paths) // columns)
    figure = Image.new("RGB", (columns * (2 * SIDE + 8), rows * (SIDE + CAPTION)), "white")
    draw = ImageDraw.Draw(figure)
    for index, path in enumerate(paths):
        left, top = index % columns * (2 * SIDE + 8), index // columns * (SIDE + CAPTION)
        image = Image.open(path).convert("RGB")
        result = detect(image)
        overlay = render_overlay(image, result["anomaly_map"], result["mask"])
        for offset, picture in ((0, image), (SIDE, overlay)):
            figure.paste(picture.resize((SIDE, SIDE)), (left + offset, top + CAPTION))
        draw.text((left + 2, top + 2), f"{path.stem}: {result['score']:.2f} {result['label']}", fill="black")
    return figure


def draw_references(detect: Detector) -> None:
    """Grass with a bottle cap. The good images are the quarters of the photograph of plain grass."""
    good, whole = (quarters(EXAMPLES / name) for name in ("grass_good.jpg", "grass_cap.jpg"))
    with_cap = Image.open(EXAMPLES / "grass_cap.jpg").convert("RGB").crop(CAP)
    lot = [*good, with_cap, *whole[:3]]  # the first two quarters hold a part of the cap
    model, processor = detect.model, detect.processor
    ways = {
        "texts alone": None,
        "4 good images": FBCLIPReferences.from_images(model, processor, good),
        "8 images mutually": FBCLIPReferences.from_images(model, processor, lot, mutual=True),
    }
    figure = Image.new("RGB", ((1 + len(ways)) * (SIDE + 8), SIDE + CAPTION), "white")
    draw = ImageDraw.Draw(figure)
    figure.paste(with_cap.resize((SIDE, SIDE)), (0, CAPTION))
    for index, (way, references) in enumerate(ways.items(), start=1):
        detect.references = references
        result = detect(with_cap)
        overlay = render_overlay(with_cap, result["anomaly_map"], result["mask"])
        figure.paste(overlay.resize((SIDE, SIDE)), (index * (SIDE + 8), CAPTION))
        draw.text((index * (SIDE + 8) + 2, 2), f"{way}: {result['score']:.2f} {result['label']}", fill="black")
    figure.save(DEMO / "references.jpg", quality=85)


def draw_tiles(detect: Detector) -> None:
    """A wall with a hole of 8 pixels: the photograph, its overlay squashed, and its overlay in tiles."""
    image = Image.open(EXAMPLES / "large" / "brick_hole.jpg").convert("RGB")
    side = 2 * SIDE
    figure = Image.new("RGB", (3 * (side + 8), side + CAPTION), "white")
    draw = ImageDraw.Draw(figure)
    figure.paste(image.resize((side, side)), (0, CAPTION))
    for index, tile in enumerate((None, "auto"), start=1):
        processor = detect.processor.with_views(tile=tile)
        result = Detector(detect.model, processor)(image)
        overlay = render_overlay(image, result["anomaly_map"], result["mask"])
        figure.paste(overlay.resize((side, side)), (index * (side + 8), CAPTION))
        way = "in tiles" if tile else "squashed"
        draw.text((index * (side + 8) + 2, 2), f"{way}: {result['score']:.2f} {result['label']}", fill="black")
    figure.save(DEMO / "tiles.jpg", quality=85)


def draw_report() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no Chromium here, so demo/report.webp stays as it is")
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        detect = [sys.executable, "-m", "modeling_fbclip.cli", "detect", EXAMPLES.name, "--output", name]
        subprocess.run([*detect, "--report", str(folder / "report.html")], check=True, cwd=DEMO)
        browser = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        browser += [f"--user-data-dir={folder / 'profile'}", f"--screenshot={folder / 'report.png'}"]
        browser += ["--window-size=1280,1130", (folder / "report.html").as_uri()]
        subprocess.run(browser, check=True, stderr=subprocess.DEVNULL)
        Image.open(folder / "report.png").convert("RGB").save(DEMO / "report.webp", quality=80)


def quarters(path: Path) -> list[Image.Image]:
    image = Image.open(path).convert("RGB")
    width, height = image.width // 2, image.height // 2
    corners = [(left, top) for top in (0, height) for left in (0, width)]
    return [image.crop((left, top, left + width, top + height)) for left, top in corners]


if __name__ == "__main__":
    main()
