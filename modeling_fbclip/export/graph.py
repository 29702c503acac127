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
from modeling_fbclip.comparison_fbclip import Scale, gather, judge
from modeling_fbclip.distances_fbclip import nearest_at_once, unit_patches
from modeling_fbclip.runtime_fbclip import INPUT, OUTPUTS, REFERENCE_INPUTS, REFERENCE_OUTPUTS

OPSET = 23  # the first with attention as one operator


class Graph(PreTrainedModel):
    """What is exported of a model: a dictionary of outputs from one input, or from three with references."""

    config_class = FBCLIPConfig
    _supports_sdpa = True

    def __init__(self, model: FBCLIPModel, text_embeds: Tensor) -> None:
        super().__init__(model.config)
        self.model = model
        self.register_buffer("text_embeds", text_embeds, persistent=False)

    def forward(
        self, pixel_values: Tensor, references: Tensor | None = None, reference_scale: Tensor | None = None
    ) -> dict[str, Tensor]:
        has_references = references is not None
        outputs = self.model(pixel_values, text_embeds=self.text_embeds, output_hidden_states=has_references)
        if references is None or reference_scale is None:
            return {name: outputs[name] for name in OUTPUTS}
        *scale, rows, columns = reference_scale.unbind(0)
        tokens = unit_patches(list(outputs.hidden_states), tuple(outputs.anomaly_maps.shape[1:]))
        distances = nearest_at_once(tokens, references, torch.stack([rows, columns]))
        judgement = judge(gather(outputs.logits, distances), Scale(*scale))  # type: ignore[arg-type] # as tensors
        return dict(zip((*OUTPUTS, *REFERENCE_OUTPUTS), judgement, strict=True))


@torch.no_grad()
def trace(model: FBCLIPModel, prompt_input_ids: Tensor | None = None, with_references: bool = False) -> onnx_ir.Model:
    """
    The graph of a model on the CPU in float32, with its own prompts or others.

    The input `pixel_values` is of shape `(batch, 3, height, width)`: any batch, and any whole number of patches from 2
    on a side. The outputs are `image_scores`, `(batch,)`, and `anomaly_maps`, `(batch, grid_height, grid_width)`.

    With references, the inputs `references` and `reference_scale` are those of `ViewReferences.arrays`: any number of
    references, which have the grid of the images. The two outputs are then the joint ones, and `reference_scores` and
    `reference_maps` are those of the distances alone.
    """
    patch, channels = (getattr(model.config.clip_vision, name) for name in ("patch_size", "num_channels"))
    graph = Graph(model, model.get_text_features(prompt_input_ids).clone()).eval()
    height, width = (torch.export.Dim(name, min=2) for name in ("grid_height", "grid_width"))
    # Sizes of 0 and 1 would become constants.
    inputs: dict[str, Any] = {INPUT: torch.zeros(2, channels, 3 * patch, 4 * patch)}
    shapes: dict[str, Any] = {INPUT: {0: torch.export.Dim("batch"), 2: patch * height, 3: patch * width}}
    if with_references:
        layers, size = len(model.config.feature_layers), model.config.clip_vision.hidden_size
        arrays = torch.zeros(5, layers, 3, 4, size), torch.ones(len(Scale._fields) + 2)
        of_arrays: Any = {0: torch.export.Dim("references"), 2: height, 3: width}, {}
        inputs |= dict(zip(REFERENCE_INPUTS, arrays, strict=True))
        shapes |= dict(zip(REFERENCE_INPUTS, of_arrays, strict=True))
    config = OnnxConfig(dynamic_shapes=shapes, opset_version=OPSET)
    with _quiet():
        program: onnx_ir.Model = OnnxExporter().export(graph, inputs, config=config).program
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
