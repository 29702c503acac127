"""The sample photographs: small, readable, and each with its source, author, licence and alteration."""

from pathlib import Path

import pytest

from modeling_fbclip.processing_fbclip import load_rgb_image

EXAMPLES = Path(__file__).parents[2] / "demo" / "examples"
PHOTOGRAPHS = sorted(EXAMPLES.rglob("*.jpg"))


def test_every_photograph_has_one_complete_entry_in_the_list_of_licences():
    lines = (EXAMPLES / "LICENSES.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    assert sorted(row[0].strip("`") for row in rows) == sorted(str(path.relative_to(EXAMPLES)) for path in PHOTOGRAPHS)
    assert all(len(row) == 6 and all(row) and row[4] == "CC0 1.0" for row in rows)
    assert sum("**real**" in row[1] for row in rows) >= 1


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.name)
def test_photographs_are_small_and_readable(path):
    assert path.stat().st_size <= 60_000
    image = load_rgb_image(path)
    assert min(image.size) >= 150
    assert max(image.size) <= (512 if path.parent.name == "large" else 400)
