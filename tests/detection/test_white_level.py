"""`--white-level auto`: one value of white, by the largest value of the first hundred images."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.detection.white_level import find_white_level


def save(folder: Path, *largest: int) -> list[partial[str]]:
    """Images of 16 bits with these largest values, as functions that give their paths."""
    paths = []
    for index, value in enumerate(largest):
        pixels = np.full((6, 8), value // 3, np.uint16)
        pixels[2, 3] = value
        paths.append(folder / f"{index:03}.png")
        Image.fromarray(pixels).save(paths[-1])
    return [partial(str, path) for path in paths]


@pytest.mark.parametrize(
    ("largest", "white", "line"),
    [
        ([200, 90], 255, "white level: 255 (8 bits); the largest value of the first 2 images is 200"),
        ([300], 1023, "white level: 1023 (10 bits); the largest value of the first 1 image is 300"),
        ([1023, 1024], 4095, "white level: 4095 (12 bits); the largest value of the first 2 images is 1024"),
        ([4096], 16383, "white level: 16383 (14 bits); the largest value of the first 1 image is 4096"),
        ([60000, 12], 65535, "white level: 65535 (16 bits); the largest value of the first 2 images is 60000"),
    ],
)
def test_the_smallest_usual_number_of_bits_is_taken(tmp_path: Path, largest: list[int], white: int, line: str) -> None:
    lines: list[str] = []
    assert find_white_level(save(tmp_path, *largest), 200, lines.append) == white
    assert lines == [line]


def test_only_the_first_hundred_images_count(tmp_path: Path) -> None:
    images = save(tmp_path, 4000, *[10] * 99, 60000)
    assert find_white_level(images, 200, print) == 4095
    assert find_white_level(images[1:], 200, print) == 65535


def test_images_that_declare_their_white_or_cannot_be_read_leave_it_open(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "8.png")
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tif")
    (tmp_path / "text.png").write_text("text")
    lines: list[str] = []
    images = [partial(str, tmp_path / name) for name in ("8.png", "float.tif", "text.png", "missing.png")]
    assert find_white_level(images, 200, lines.append) is None
    assert lines == ["white level: not set; the first 4 images declare their own"]
    deep = save(tmp_path, 900)
    assert find_white_level([*images, *deep], 200, lines.append) == 1023
    assert find_white_level(deep, 1e-6, lines.append) is None  # too large
