"""Small folders with the file names of the real data sets."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from datasets import Image as ImageFeature
from PIL import Image

from modeling_fbclip.data import load_anomaly_dataset

MASK = np.eye(8, dtype=np.uint8) * 255

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves images and masks of 8 by 8 pixels below a root, and returns the root."""

    def write(root: str, images: Iterable[str], masks: Iterable[str] = (), empty: Iterable[str] = ()) -> Path:
        def put(name: str, values: np.ndarray) -> None:
            file = tmp_path / root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(file)

        for name in images:  # each another picture
            put(name, np.random.default_rng([*name.encode()]).integers(90, 130, (8, 8, 3), dtype=np.uint8))
        for name in masks:
            put(name, MASK)
        for name in empty:
            put(name, np.zeros_like(MASK))
        return tmp_path / root

    return write


@pytest.fixture
def rows() -> Callable[..., list[tuple]]:
    """The rows of a folder as (image, mask, label, category, defect), with paths relative to it. They must be the same
    loaded and streamed."""

    def read(root: Path, split: str = "test", **options: object) -> list[tuple]:
        def relative(path: str | None) -> str | None:
            return None if path is None else Path(path).relative_to(root).as_posix()

        loaded = load_anomaly_dataset(root, split, **options)
        stream = load_anomaly_dataset(root, split, streaming=True, **options)
        as_files = ImageFeature(decode=False)
        found = []
        for dataset in (loaded, stream):
            undecoded = dataset.cast_column("image", as_files).cast_column("mask", as_files)
            assert list(undecoded.features) == ["image", "mask", "label", "category", "defect", "path"]
            found.append(
                [
                    (
                        relative(row["image"]["path"]),
                        row["mask"] and relative(row["mask"]["path"]),
                        row["label"],
                        row["category"],
                        row["defect"],
                    )
                    for row in undecoded
                ]
            )
            assert [relative(row["path"]) for row in undecoded] == [row[0] for row in found[-1]]
        assert found[0] == found[1]
        for row in loaded:
            assert row["image"].size == (8, 8)
            assert row["mask"] is None or row["mask"].size == (8, 8)
        return found[0]

    return read
