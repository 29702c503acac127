"""A tiny model, exported once for all tests."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY_OVERRIDES, make_tiny_clip, randomize
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.export import Parity, folder


class Exported(NamedTuple):
    """An export with what it was made of."""

    folder: Path
    model: FBCLIPModel
    processor: FBCLIPProcessor
    images: list[Image.Image]
    parity: Parity


@pytest.fixture(scope="session")
def tiny() -> FBCLIPModel:
    """One feature layer, since the time goes to tracing."""
    model = FBCLIPModel.from_clip(make_tiny_clip(), **(TINY_OVERRIDES | {"feature_layers": [2]}))
    randomize(model.text_branch, seed=1)
    randomize(model.attention, seed=2)
    return model.eval()


@pytest.fixture(scope="session")
def make_export(tiny: FBCLIPModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """Exports the tiny model; every kind from one traced graph."""
    made: dict[Any, Exported] = {}
    graphs: dict[Any, Path] = {}
    processor = FBCLIPProcessor.from_config(tiny.config)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in pixels]

    def traced(model: FBCLIPModel, ids: torch.Tensor | None = None) -> Any:
        import onnx_ir

        key = None if ids is None else tuple(ids.flatten().tolist())
        if key not in graphs:
            graphs[key] = tmp_path_factory.mktemp("graph") / "model.onnx"
            onnx_ir.save(trace(model, ids), graphs[key])
        return onnx_ir.load(graphs[key])

    def make(to: str = "onnx", precision: str = "float32") -> Exported:
        if (to, precision) not in made:
            target = tmp_path_factory.mktemp("exports") / f"{to}-{precision}"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(folder, "trace", traced)
                parity = folder.export(tiny, processor, target, to, precision, images=images)
            made[to, precision] = Exported(target, tiny, processor, images, parity)
        return made[to, precision]

    trace = folder.trace
    return make


@pytest.fixture
def own_copy(make_export: Callable[..., Exported], tmp_path: Path) -> Exported:
    """An export that a test may change."""
    exported = make_export()
    target = tmp_path / "exported"
    shutil.copytree(exported.folder, target)
    return exported._replace(folder=target)
