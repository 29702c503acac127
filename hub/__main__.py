"""Writes `MODEL_CARD.md`, the card of the bundled model, from what its training and evaluation wrote: `make card`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from modeling_fbclip.detection.loading import BUNDLED

from .stage import stage_model

PROJECT_CARD = Path(__file__).parents[1] / "MODEL_CARD.md"


def project_card() -> str:
    """The text that it should hold: the card that a push of the bundled model has."""
    with TemporaryDirectory(prefix="fbclip-card-") as folder:
        stage_model(BUNDLED, Path(folder) / "model", "owner/name")
        return (Path(folder) / "model" / "README.md").read_text(encoding="utf-8")


if __name__ == "__main__":
    PROJECT_CARD.write_text(project_card(), encoding="utf-8")
    print(f"wrote {PROJECT_CARD.name}")
