"""Writes `MODEL_CARD.md`, the card of the bundled model: `make card`."""

from pathlib import Path

from modeling_fbclip.detection.loading import BUNDLED

from .card import render_card

PROJECT_CARD = Path(__file__).parents[1] / "MODEL_CARD.md"

if __name__ == "__main__":
    PROJECT_CARD.write_text(render_card(BUNDLED, "owner/name"), encoding="utf-8")
    print(f"wrote {PROJECT_CARD.name}")
