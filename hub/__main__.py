"""Writes `MODEL_CARD.md`, the card of the bundled model, from what its training and evaluation wrote: `make card`."""

from pathlib import Path

from modeling_fbclip.checkpoints import BUNDLED

from .card import render_card

PROJECT_CARD = Path(__file__).parents[1] / "MODEL_CARD.md"


def project_card() -> str:
    """The text that it should hold."""
    return render_card(BUNDLED, "owner/name")


if __name__ == "__main__":
    PROJECT_CARD.write_text(project_card(), encoding="utf-8")
    print(f"wrote {PROJECT_CARD.name}")
