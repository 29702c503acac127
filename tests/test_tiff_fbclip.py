"""TIFF files that Pillow does not know."""

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from modeling_fbclip.images_fbclip import load_rgb_image
from modeling_fbclip.masks_fbclip import load_mask

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 20, 3))
GREY = COLOURS[:, :, 0]


def tiff(values: np.ndarray, **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(GREY / 255, photometric="minisblack"), GREY),
        (tiff((GREY / 255).astype(np.float16), photometric="minisblack"), GREY),
        (tiff((COLOURS / 255).astype(np.float32), photometric="rgb"), COLOURS),
        (tiff(np.moveaxis(COLOURS / 255, 2, 0), photometric="rgb", planarconfig="separate"), COLOURS),
        (tiff(GREY / 255, photometric="miniswhite"), 255 - GREY),
        (tiff(np.stack([GREY, 255 - GREY]) / 255, photometric="minisblack"), GREY),
    ],
    ids=["float64", "float16", "colours", "planes", "min-is-white", "pages"],
)
def test_floating_point_pictures_are_read(data: bytes, expected: np.ndarray) -> None:
    expected = np.dstack([expected] * 3) if expected.ndim == 2 else expected
    assert np.abs(np.asarray(load_rgb_image(data)).astype(int) - expected).max() <= 1


def test_pages_masks_and_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    path.write_bytes(tiff(np.stack([GREY, 255 - GREY]) / 255, photometric="minisblack"))
    assert np.abs(np.asarray(load_rgb_image(f"{path}#1"))[:, :, 0].astype(int) - (255 - GREY)).max() <= 1
    assert np.array_equal(load_mask(path), GREY > 0)
    with pytest.raises(ValueError, match=r"scan\.tif#2: there is no page 2: it has 2, numbered from 0\.$"):
        load_rgb_image(f"{path}#2")
    with pytest.raises(ValueError, match=r"0\.00024 megapixels are more than the limit of 0\.0001"):
        load_rgb_image(path, max_megapixels=0.0001)
    path.write_bytes(tiff(np.zeros((12, 20, 7)), photometric="minisblack", planarconfig="contig"))
    with pytest.raises(ValueError, match=r"holds values of shape \(12, 20, 7\), but a picture is grey or RGB"):
        load_rgb_image(path)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ValueError, match=r'the library tifffile: pip install "modeling-fbclip\[tiff\]"\.$'):
        load_rgb_image(tiff(GREY / 255, photometric="minisblack"))
