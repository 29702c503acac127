"""Writes `MODEL_CARD.md`, the card of the bundled model: `make card`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from modeling_fbclip.detection.loading import BUNDLED

from .card import PICTURE
from .stage import stage_model

PROJECT_CARD = Path(__file__).parents[1] / "MODEL_CARD.md"


def project_card() -> str:
    """The card as a push writes it, but for the place of its picture."""
    with TemporaryDirectory() as folder:
        stage_model(BUNDLED, Path(folder, "model"), "owner/name")
        card = Path(folder, "model", "README.md").read_text(encoding="utf-8")
    return card.replace(f"]({PICTURE})", "](demo/heatmaps.jpg)")


if __name__ == "__main__":
    PROJECT_CARD.write_text(project_card(), encoding="utf-8")
    print(f"wrote {PROJECT_CARD.name}")
