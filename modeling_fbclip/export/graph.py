"""A model as one ONNX graph for every batch and size: pixels in, scores and maps out, the texts as constants."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import onnx_ir
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.exporters import OnnxConfig, OnnxExporter

from modeling_fbclip import FBCLIPConfig, FBCLIPModel

INPUT = "pixel_values"
OUTPUTS = ("image_scores", "anomaly_maps")
OPSET = 23  # the first with attention as one operator


class Graph(PreTrainedModel):
    """What is exported of a model: a dictionary of two outputs from one input."""

    config_class = FBCLIPConfig
    _supports_sdpa = True

    def __init__(self, model: FBCLIPModel, text_embeds: Tensor) -> None:
        super().__init__(model.config)
        self.model = model
        self.register_buffer("text_embeds", text_embeds, persistent=False)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        outputs = self.model(pixel_values=pixel_values, text_embeds=self.text_embeds)
        return {name: outputs[name] for name in OUTPUTS}


@torch.no_grad()
def trace(model: FBCLIPModel, prompt_input_ids: Tensor | None = None) -> onnx_ir.Model:
    """
    The graph of a model on the CPU in float32, with its own prompts or others.

    The input `pixel_values` is of shape `(batch, 3, height, width)`: any batch, and any whole number of patches from 2
    on a side. The outputs are `image_scores`, `(batch,)`, and `anomaly_maps`, `(batch, grid_height, grid_width)`.
    """
    patch: Any = model.config.patch_size
    graph = Graph(model, model.get_text_features(prompt_input_ids).clone()).eval()
    shapes = {
        0: torch.export.Dim("batch"),
        2: patch * torch.export.Dim("grid_height", min=2),
        3: patch * torch.export.Dim("grid_width", min=2),
    }
    config = OnnxConfig(dynamic_shapes={INPUT: shapes}, opset_version=OPSET)
    channels: Any = model.config.clip_vision.num_channels
    sample = torch.zeros(2, channels, 3 * patch, 4 * patch)  # sizes of 0 and 1 would become constants
    with _quiet():
        program: onnx_ir.Model = OnnxExporter().export(graph, {INPUT: sample}, config=config).program
    _forget_origin(program)
    return program


def _forget_origin(program: onnx_ir.Model) -> None:
    """Removes the exporter's notes on lines of code, which name folders of this machine."""
    owners: list[Any] = [program, *program.graphs(), *program.graph.all_nodes()]
    for owner in owners:
        owner.metadata_props.clear()
        owner.doc_string = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the exporters' notes, which are for programmers."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
