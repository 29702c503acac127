"""The package's licence, for the folders that it writes."""

from importlib.metadata import distribution
from pathlib import Path

LICENSE_OF_CLONE = Path(__file__).parents[2] / "LICENSE"
DISTRIBUTION = "modeling-fbclip"


def write_license(folder: Path) -> None:
    """Writes the package's licence, from the installed distribution or from a clone."""
    text = distribution(DISTRIBUTION).read_text("licenses/LICENSE")
    (folder / "LICENSE").write_text(text or LICENSE_OF_CLONE.read_text(encoding="utf-8"), encoding="utf-8")
