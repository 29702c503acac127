"""Photographs that visitors send are decoded."""

import io

import numpy as np
import pytest
from modeling_fbclip.demo.photos import FORMATS, Photo, decode
from PIL import Image

from modeling_fbclip import FBCLIPProcessor

from .conftest import EXAMPLES


@pytest.mark.parametrize("name", [*FORMATS, "MPO"])
def test_every_format_is_read(name):
    with Image.open(EXAMPLES / "wood_scratch.jpg") as image:
        expected = image.convert("RGB")
    stream = io.BytesIO()
    expected.save(stream, name)
    decoded = decode(Photo(f"photo.{name.lower()}", stream.getvalue()), FBCLIPProcessor())
    assert (decoded.mode, decoded.size) == ("RGB", expected.size)
    assert np.abs(np.asarray(decoded, dtype=int) - np.asarray(expected)).mean() < 6  # GIF has 256 colours


def test_an_upload_is_read_with_the_white_level_of_the_model():
    grey = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint16)
    stream = io.BytesIO()
    Image.fromarray(grey * 16).save(stream, "PNG")
    decoded = decode(Photo("deep.png", stream.getvalue()), FBCLIPProcessor(white_level=16 * 255))
    assert np.abs(np.asarray(decoded)[:, :, 0].astype(int) - grey).max() <= 1
