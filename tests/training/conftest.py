"""A small data set of images and masks, and training runs that share no state."""

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState
from datasets import Dataset, Features, Image, Value
from PIL import Image as PILImage

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.training import FBCLIPTrainingArguments, train

FEATURES = Features(
    {"image": Image(), "mask": Image(), "label": Value("int64"), "category": Value("string"), "path": Value("string")}
)


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """accelerate keeps its state as long as the process lives."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def make_parts(folder: Path, count: int = 6, masks: bool = True) -> Dataset:
    """Files of grey parts. Every second one has a bright square and a mask of it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        label, path, mask_path = index % 2, folder / f"{index}.png", folder / f"{index}_mask.png"
        pixels = rng.integers(90, 130, (40, 36, 3), dtype=np.uint8)
        mask = np.zeros((40, 36), dtype=np.uint8)
        mask[5:20, 8:26] = 255 * label
        pixels[mask > 0] = 230
        PILImage.fromarray(pixels).save(path)
        PILImage.fromarray(mask).save(mask_path)
        rows.append(
            {
                "image": str(path),
                "mask": str(mask_path) if label and masks else None,
                "label": label,
                "category": "part",
                "path": f"parts/{index}.png",
            }
        )
    return Dataset.from_list(rows, features=FEATURES)


def damaged_png(kind: str) -> bytes:
    """A PNG with a gigantic size in its header, or with an invalid name of its second chunk of pixels."""
    side = 20_000 if kind == "gigantic" else 30
    pixels = zlib.compress(bytes(30 * 91), level=0)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", pixels[:1000]),
        (b"IDAT" if kind == "gigantic" else b"\0\0\0\0", pixels[1000:]),
        (b"IEND", b""),
    ]
    written = (struct.pack(">I", len(data)) + name + data for name, data in parts)
    checks = (struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk + check for chunk, check in zip(written, checks, strict=True))


@pytest.fixture
def parts(tmp_path: Path) -> Dataset:
    return make_parts(tmp_path / "parts")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., FBCLIPModel]:
    """Trains the tiny model on a data set, into the folder of this name."""

    def run(dataset: Dataset, output: str = "out", **arguments: object) -> FBCLIPModel:
        AcceleratorState._reset_state(reset_partial_state=True)
        model = make_tiny_model()
        args = FBCLIPTrainingArguments(tmp_path / output, **({"learning_rate": 1e-3} | arguments))
        return train(model, FBCLIPProcessor.from_config(model.config), dataset, args)

    return run


def trained_weights(model: FBCLIPModel) -> dict[str, np.ndarray]:
    return {name: w.detach().numpy().copy() for name, w in model.named_parameters() if w.requires_grad}
