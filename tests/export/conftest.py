"""A tiny model, exported once for all tests."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY_OVERRIDES, make_tiny_clip, randomize
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.export import Parity, folder

# The script in a Python that lacks these libraries.
ALONE = """
import sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "modeling_fbclip", "scipy", "huggingface_hub"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Lacking())
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Exported(NamedTuple):
    """An export with what it was made of."""

    folder: Path
    model: FBCLIPModel
    processor: FBCLIPProcessor
    images: list[Image.Image]
    parity: Parity
    references: FBCLIPReferences | None = None


@pytest.fixture(scope="session")
def tiny() -> FBCLIPModel:
    """One feature layer, since the time goes to tracing."""
    model = FBCLIPModel.from_clip(make_tiny_clip(), **(TINY_OVERRIDES | {"feature_layers": [2]}))
    randomize(model.text_branch, seed=1)
    randomize(model.attention, seed=2)
    return model.eval()


@pytest.fixture(scope="session")
def make_export(tiny: FBCLIPModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """Exports the tiny model; every kind from one traced graph, or with references from another one."""
    made: dict[Any, Exported] = {}
    graphs: dict[Any, Path] = {}
    processor = FBCLIPProcessor.from_config(tiny.config)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in pixels]
    good = [Image.fromarray(each) for each in np.random.default_rng(1).integers(0, 256, pixels.shape, dtype=np.uint8)]

    def traced(model: FBCLIPModel, ids: torch.Tensor | None = None, with_references: bool = False) -> Any:
        import onnx_ir

        key = with_references, None if ids is None else tuple(ids.flatten().tolist())
        if key not in graphs:
            graphs[key] = tmp_path_factory.mktemp("graph") / "model.onnx"
            onnx_ir.save(trace(model, ids, with_references), graphs[key])
        return onnx_ir.load(graphs[key])

    def make(
        to: str = "onnx", precision: str = "float32", with_references: bool = False, tile: int | None = None
    ) -> Exported:
        kind = to, precision, with_references, tile
        if kind not in made:
            target = tmp_path_factory.mktemp("exports") / "-".join(map(str, kind))
            own = processor.with_views(patch_size=tiny.config.patch_size, tile=tile)
            own.score = "map_max" if with_references else "cls"
            references = FBCLIPReferences.from_images(tiny, own, good) if with_references else None
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(folder, "trace", traced)
                parity = folder.export(tiny, own, target, to, precision, images=images, references=references)
            made[kind] = Exported(target, tiny, own, images, parity, references)
        return made[kind]

    trace = folder.trace
    return make


@pytest.fixture
def run_alone(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the script of a folder without PyTorch."""

    def run(folder: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", ALONE, folder / "inference.py", *arguments]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd=tmp_path)

    return run


@pytest.fixture
def own_copy(make_export: Callable[..., Exported], tmp_path: Path) -> Exported:
    """An export that a test may change."""
    exported = make_export()
    target = tmp_path / "exported"
    shutil.copytree(exported.folder, target)
    return exported._replace(folder=target)
