"""A tiny model with its processor, and labelled images of two categories."""

import numpy as np
import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as PILImage

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPProcessor

FEATURES = Features(
    {
        "image": Image(),
        "mask": Image(),
        "label": Value("int64"),
        "category": Value("string"),
        "path": Value("string"),
    }
)


@pytest.fixture
def model():
    return make_tiny_model()


@pytest.fixture
def processor(model):
    return FBCLIPProcessor.from_config(model.config)


def make_row(index, category, label, with_mask=True):
    """A random image, not square. An anomalous one has a grey square and its mask."""
    generator = np.random.default_rng(index)
    pixels = generator.integers(60, 190, (40, 56, 3), dtype=np.uint8)
    mask = np.zeros((40, 56), dtype=np.uint8)
    if label:
        top, left = generator.integers(0, (24, 40))
        pixels[top : top + 16, left : left + 16] = generator.integers(0, 256)
        mask[top : top + 16, left : left + 16] = 255
    return {
        "image": PILImage.fromarray(pixels),
        "mask": PILImage.fromarray(mask) if label and with_mask else None,
        "label": label,
        "category": category,
        "path": f"{category}/{index}.png",
    }


def make_dataset(rows):
    return Dataset.from_list(list(rows), features=FEATURES)


@pytest.fixture
def dataset():
    """Two categories, interleaved."""
    return make_dataset(make_row(index, "ab"[index % 2], index % 3 % 2) for index in range(13))
