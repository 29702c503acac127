"""Loads a model with its processor: for the command line, the demo, the Hub and the benchmarks."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from modeling_fbclip import FBCLIPConfig, FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.common.hub import asking_hub, is_hub_id
from modeling_fbclip.common.messages import ArgumentError, one_line
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.views_fbclip import VIEW_SETTINGS

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).parents[1] / "bundled"
# What the libraries raise when a model's files are missing, damaged or of something else.
LOADING_ERRORS = (
    OSError,
    SafetensorError,
    StrictDataclassError,
    AttributeError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load_bundled() -> tuple[FBCLIPModel, FBCLIPProcessor]:
    r"""
    The small model that comes with the package: a demonstration and a starting point for fine-tuning. It needs no
    network.

    Returns:
        `tuple[FBCLIPModel, FBCLIPProcessor]`: the model in float32, in evaluation mode, and its processor.
    """
    return FBCLIPModel.from_pretrained(BUNDLED, dtype=torch.float32), FBCLIPProcessor.from_pretrained(BUNDLED)


def load_detector(
    model_name: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    own: Mapping[str, Any] | None = None,
) -> Detector:
    r"""
    A model with its processor, ready to be used.

    Args:
        model_name: a folder or a Hub id; `None` for the bundled model.
        device: torch's name of one, or `None` for the accelerator if there is one.
        dtype: torch's name of the weights' number type.
        own: settings in place of the processor's, by name.

    Raises:
        `ArgumentError`: there is no such model or device, or the settings do not suit the model; `argument` is
            `"model"`, `"device"` or `"tile"`.
    """
    quieten_libraries()
    target = _choose_device(device)
    try:
        model, processor = _load(model_name, getattr(torch, dtype))
    except LOADING_ERRORS as error:
        title = "the bundled model" if model_name is None else model_name or "''"
        raise ArgumentError("model", f"{title} cannot be loaded: {one_line(error)}") from error
    if model.dtype is torch.bfloat16 and not computes_bfloat16(target.type):
        logger.warning("bfloat16 is very slow here: this processor has no instructions for it; take float32.")
    processor = _with_settings(processor, model, own or {})
    model = on_device(model, target)
    try:
        references = FBCLIPReferences.beside(model)
        if references is not None:
            references.check(model, processor)
    except (OSError, ValueError) as error:
        raise ArgumentError("model", f"{model_name}: {one_line(error)}") from error
    return Detector(model, processor, references=references)


def _with_settings(processor: FBCLIPProcessor, model: FBCLIPModel, own: Mapping[str, Any]) -> FBCLIPProcessor:
    for name, value in own.items():
        if name not in VIEW_SETTINGS:
            setattr(processor, name, value)
    views = {name: value for name, value in own.items() if name in VIEW_SETTINGS}
    try:
        processor = processor.with_views(patch_size=model.config.patch_size, **views)
    except ValueError as error:
        raise ArgumentError("tile", one_line(error)) from error
    if "overlap" in views and processor.tile is None:
        raise ArgumentError("overlap", "is for tiles; name their size by `tile`")
    return processor


def on_device(model: FBCLIPModel, device: torch.device | None = None) -> FBCLIPModel:
    """The model on a device, by default the accelerator if there is one."""
    return torch.nn.Module.to(model, device or _default_device())  # `model.to` has no types in transformers


def computes_bfloat16(kind: str) -> bool:
    """Whether a device of this kind multiplies bfloat16 by instructions of its own. Some processors emulate it."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions do not have it
    return kind != "cpu" or any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def quieten_libraries() -> None:
    """Hides the warnings and loading bars of the libraries, which are for programmers."""
    huggingface_hub.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def require_folder_or_hub_id(name: str) -> None:
    """Raises ValueError for a mistyped folder, without asking the Hub for it."""
    if not name:
        raise ValueError("an empty name names no model")
    if Path(name).is_file():
        raise ValueError("it is a file; pass the folder that a model was saved to")
    if not Path(name).is_dir() and not is_hub_id(name):
        raise ValueError(f"{name}: no such folder, and a Hub id is of the form user/name")


def require_fbclip(name: str | Path) -> dict[str, Any]:
    """The `config.json` of a model. ValueError if there is none, or it is of another kind of model."""
    if Path(name).is_dir() and not Path(name, "config.json").is_file():
        raise ValueError("it holds no config.json; pass the folder that a model was saved to")
    return FBCLIPConfig.get_config_dict(name)[0]


def _load(model_name: str | None, dtype: torch.dtype) -> tuple[FBCLIPModel, FBCLIPProcessor]:
    if model_name is None:
        model, processor = load_bundled()
        return torch.nn.Module.to(model, dtype), processor  # `model.to` has no types in transformers
    require_folder_or_hub_id(model_name)
    if Path(model_name).is_dir():
        config = require_fbclip(model_name)
        if config.get("includes_clip", True) or Path(str(config.get("clip_name_or_path"))).is_dir():
            return _load_both(model_name, dtype)
    with asking_hub(model_name) as answers:
        try:
            require_fbclip(model_name)
            model, processor = _load_both(model_name, dtype)
        except OSError as error:
            if answers:
                raise
            raise OSError("the Hub does not answer, and there is no complete local copy") from error
    if not answers and model.loaded_from is not None:
        model.loaded_from["local_files_only"] = True  # its records are not asked for either
    return model, processor


def _load_both(model_name: str, dtype: torch.dtype) -> tuple[FBCLIPModel, FBCLIPProcessor]:
    return FBCLIPModel.from_pretrained(model_name, dtype=dtype), FBCLIPProcessor.from_pretrained(model_name)


def _choose_device(device: str | None) -> torch.device:
    if device is None:
        return _default_device()
    try:
        torch.zeros(1, device=device).cpu()  # "meta" holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ArgumentError("device", f"{device} is not usable here: {one_line(error)}") from error
    return torch.device(device)


def _default_device() -> torch.device:
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")
