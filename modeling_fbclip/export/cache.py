"""Exports that commands make for themselves, kept for the next time."""

from collections.abc import Callable
from pathlib import Path

from huggingface_hub.constants import HF_HOME

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.common.messages import ArgumentError, one_line
from modeling_fbclip.digests_fbclip import settings_digest, weights_digest
from modeling_fbclip.export.folder import Runtime, export, sample_photographs
from modeling_fbclip.export.graph import OPSET
from modeling_fbclip.runtime_fbclip import FBCLIPRuntimeModel

COMPARED = 2  # sample photographs, so that it does not take long


def exported(
    model: FBCLIPModel, processor: FBCLIPProcessor, runtime: Runtime, tell: Callable[[str], object]
) -> FBCLIPModel:
    """
    The model as a runtime computes it, in float32. It is exported and compared once, and then taken from the cache
    beside that of the Hub, where it is found by weights, configuration and prompts.

    Args:
        model, processor: in float32.
        runtime: what computes it.
        tell: is told in one line that an export begins.

    Raises:
        ArgumentError: the model cannot be exported, or the export differs from it by too much (`runtime`).
    """
    if isinstance(model, FBCLIPRuntimeModel):
        raise ArgumentError("runtime", f"the model is exported for {model.config.runtime} already; leave it out")
    settings = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    about = {"weights": weights_digest(model), "config": settings, "runtime": runtime, "opset": OPSET}
    if FBCLIPReferences.beside(model) is not None:
        about["references"] = True  # any of this model: they are inputs of the graph
    key = settings_digest(about)
    folder = Path(HF_HOME) / "fbclip" / key
    if not (folder / "config.json").is_file():
        tell(f"exporting the model for {runtime}, once; it is kept in {folder}")
        try:
            export(model, processor, folder, runtime, images=sample_photographs()[:COMPARED], force=False)
        except (OSError, ValueError) as error:
            raise ArgumentError("runtime", one_line(error)) from error
    found = FBCLIPModel.from_pretrained(folder)
    found.loaded_from, found.name_or_path = model.loaded_from, model.name_or_path  # its records are the model's
    return found
