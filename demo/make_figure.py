"""`make figure` writes `demo/heatmaps.jpg` for the README: the sample photographs and the bundled model's heatmaps."""

from pathlib import Path

from PIL import Image, ImageDraw

from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.detection.rendering import render_overlay

DEMO = Path(__file__).parent
SIDE, CAPTION, COLUMNS = 160, 16, 4


def main() -> None:
    detect = load_detector()
    paths = sorted((DEMO / "examples").glob("*.jpg"))
    rows = -(-len(paths) // COLUMNS)
    figure = Image.new("RGB", (COLUMNS * (2 * SIDE + 8), rows * (SIDE + CAPTION)), "white")
    draw = ImageDraw.Draw(figure)
    for index, path in enumerate(paths):
        left, top = index % COLUMNS * (2 * SIDE + 8), index // COLUMNS * (SIDE + CAPTION)
        image = Image.open(path).convert("RGB")
        result = detect(image)
        overlay = render_overlay(image, result["anomaly_map"], result["mask"])
        for offset, picture in ((0, image), (SIDE, overlay)):
            figure.paste(picture.resize((SIDE, SIDE)), (left + offset, top + CAPTION))
        draw.text((left + 2, top + 2), f"{path.stem}: {result['score']:.2f} {result['label']}", fill="black")
    figure.save(DEMO / "heatmaps.jpg", quality=85)


if __name__ == "__main__":
    main()
