"""Loading of the model that a command works with. The heavy imports wait until one is really wanted."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from modeling_fbclip.common.messages import one_line

if TYPE_CHECKING:
    import torch

    from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
    from modeling_fbclip.pipeline_fbclip import ZeroShotAnomalyDetectionPipeline


# What the libraries that read a model's JSON files raise when these hold something else than they should.
DAMAGE = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)


class WeightType(StrEnum):
    """Number types of the weights, by their torch names."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def load_pipeline(model_name: str | None, device: str | None, dtype: WeightType) -> "ZeroShotAnomalyDetectionPipeline":
    """
    The pipeline on a model, which is a folder or a Hub id, or the bundled one when `None`. `device` is torch's
    name of one, or `None` for the accelerator if there is one.

    Raises:
        typer.BadParameter: if there is no such model or device.
    """
    import torch

    from modeling_fbclip.pipeline_fbclip import ZeroShotAnomalyDetectionPipeline

    quieten_libraries()
    if device is not None:
        _require_device(device)
    model, processor = _load(model_name, getattr(torch, dtype))
    return ZeroShotAnomalyDetectionPipeline(model=model, processor=processor, device=device)


def quieten_libraries() -> None:
    """Their warnings and loading bars are for programmers; what a user must know, a command says itself."""
    import huggingface_hub
    import transformers

    huggingface_hub.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def require_folder_or_hub_id(name: str) -> None:
    """Raises ValueError for a mistyped folder, without asking the Hub for it."""
    if not Path(name).is_dir() and name.count("/") != 1:
        raise ValueError(f"{name}: no such folder, and a Hub id is of the form user/name")


def _load(model_name: str | None, dtype: "torch.dtype") -> "tuple[FBCLIPModel, FBCLIPProcessor]":
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    from modeling_fbclip import FBCLIPConfig, FBCLIPModel, FBCLIPProcessor, load_bundled

    try:
        if model_name is None:
            model, processor = load_bundled()
            return torch.nn.Module.to(model, dtype), processor  # the override's types are lost in a decorator
        require_folder_or_hub_id(model_name)
        kind = FBCLIPConfig.get_config_dict(model_name)[0].get("model_type")
        if kind != FBCLIPConfig.model_type:
            raise ValueError(f"it holds a {kind!r} model, not an FB-CLIP")
        return FBCLIPModel.from_pretrained(model_name, dtype=dtype), FBCLIPProcessor.from_pretrained(model_name)
    except (OSError, SafetensorError, StrictDataclassError, *DAMAGE) as error:
        raise typer.BadParameter(
            f"{model_name or 'the bundled model'} cannot be loaded: {one_line(error)}", param_hint="--model"
        ) from error


def _require_device(device: str) -> None:
    import torch

    try:
        torch.zeros(1, device=device).cpu()  # "meta" holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise typer.BadParameter(f"{device} is not usable here: {one_line(error)}", param_hint="--device") from error
