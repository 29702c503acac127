"""The bundled model."""

from pathlib import Path

import torch

from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

BUNDLED = Path(__file__).parents[1] / "bundled"


def load_bundled() -> tuple[FBCLIPModel, FBCLIPProcessor]:
    r"""
    The small model that comes with the package: a demonstration and a starting point for fine-tuning. It needs no
    network.

    Returns:
        `tuple[FBCLIPModel, FBCLIPProcessor]`: the model in float32, in evaluation mode, and its processor.
    """
    return FBCLIPModel.from_pretrained(BUNDLED, dtype=torch.float32), FBCLIPProcessor.from_pretrained(BUNDLED)
