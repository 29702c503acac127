"""Converts the authors' released checkpoints (`.pth`): renames their tensors and drops unused ones."""

import pickle
import re
from itertools import dropwhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Ours ← theirs: modules with a weight and a bias.
MODULES = {
    "text_branch.token_selector.0": "token_selector.0",
    "text_branch.token_selector.2": "token_selector.2",
    "text_branch.projection_mlp.0": "text_projection_mlp.0",
    "text_branch.projection_mlp.2": "text_projection_mlp.2",
    "attention.gate_hidden": "fb_Attention.gate.0",
    "attention.gate_output": "fb_Attention.gate.2",
    "attention.norm": "fb_Attention.norm",
    "attention.foreground.norm": "fb_Attention.fg_norm",
    "attention.foreground.out": "fb_Attention.fg_to_out.0",
    "attention.background.norm": "fb_Attention.bg_norm",
    "attention.background.out": "fb_Attention.bg_to_out.0",
}
# Ours ← theirs: tensors. Several of theirs become one of ours, concatenated along the first dimension.
SOURCES = {
    f"{ours}.{kind}": (f"{theirs}.{kind}",) for ours, theirs in MODULES.items() for kind in ("weight", "bias")
} | {
    "text_branch.prompt_embeddings": ("prompt_learner.ctx_pos", "prompt_learner.ctx_neg"),
    "attention.foreground.qkv.weight": tuple(f"fb_Attention.fg_to_{part}.weight" for part in "qkv"),
    "attention.foreground.scale": ("fb_Attention.fg_scale",),
    "attention.background.qkv.weight": tuple(f"fb_Attention.bg_to_{part}.weight" for part in "qkv"),
    "attention.background.scale": ("fb_Attention.bg_scale",),
    "scale_weights": ("scale_weights",),
}

# Tensors that the released code does not use, or computes from CLIP and the prompts.
UNUSED = re.compile(
    r"prompt_learner\.(token_prefix|token_suffix|tokenized_prompts)_(pos|neg)"
    r"|prompt_learner\.compound_prompts_text\.\d+"
    r"|prompt_learner\.compound_prompt_projections\.\d+\.(weight|bias)"
    r"|gate_network\.[02]\.(weight|bias)|fusion_weights?|layer_selector"
)
UNUSED_ENTRIES = ("epoch", "loss", "source_domain")

# Safe unpickling of `loss`, a NumPy scalar, needs the names of its constructors.
NUMPY_SCALAR: list[Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
]


def read_official_checkpoint(path: str | Path) -> dict[str, Tensor]:
    r"""
    Reads the tensors of a released checkpoint under their official names, those of the prompt learner with the prefix
    `prompt_learner.`. The file is read with `weights_only=True`, which refuses code in it.

    Raises:
        `FileNotFoundError`: there is no such file.
        `ValueError`: the file is not a checkpoint of the released code.
    """
    checkpoint = _load_official(path)
    prompts = {f"prompt_learner.{name}": tensor for name, tensor in checkpoint["prompt_learner"].items()}
    return prompts | checkpoint["model_trainable_params"]


def read_source_domain(path: str | Path) -> str | None:
    """What a released checkpoint says it was trained on, such as "mvtec". Errors are those of the whole checkpoint."""
    domain = _load_official(path).get("source_domain")
    return domain if isinstance(domain, str) else None


def _load_official(path: str | Path) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; give the released FB-CLIP checkpoint (.pth).")
    try:
        with torch.serialization.safe_globals(NUMPY_SCALAR):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: no checkpoint that can be read safely (weights only): {reason}") from None
    groups = ("prompt_learner", "model_trainable_params")
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(group), dict) for group in groups):
        raise ValueError(f"{path}: not a released FB-CLIP checkpoint; expected the entries {' and '.join(groups)}.")
    unknown = sorted(set(map(str, checkpoint)) - set(groups) - set(UNUSED_ENTRIES))
    if unknown:
        raise ValueError(f"{path}: unexpected entries {unknown}; a released FB-CLIP checkpoint has none of them.")
    strays = [name for group in groups for name, value in checkpoint[group].items() if not isinstance(value, Tensor)]
    if strays:
        raise ValueError(f"{path}: {', '.join(map(str, strays))} should be tensors; the file is damaged.")
    return checkpoint


def official_prompt_fields(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The config fields that a released checkpoint sets: `prompt_length` and `prompt_input_ids`."""
    fields: dict[str, Any] = {}
    context = tensors.get("prompt_learner.ctx_pos")
    if context is not None and context.ndim >= 2:
        fields["prompt_length"] = context.shape[-2]
    ids = [tensors.get(f"prompt_learner.tokenized_prompts_{state}") for state in ("pos", "neg")]
    if all(row is not None for row in ids):
        fields["prompt_input_ids"] = [row.flatten().tolist() for row in ids if row is not None]
    return fields


def convert_official_tensors(tensors: dict[str, Tensor], shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    r"""
    Renames the tensors of a released checkpoint.

    Args:
        tensors (`dict[str, torch.Tensor]`): tensors under official names, from `read_official_checkpoint`.
        shapes (`dict[str, torch.Size]`): shapes of the FB-CLIP parameters, under our names.

    Returns:
        `dict[str, torch.Tensor]`: tensors under our names.

    Raises:
        `ValueError`: tensors are missing, unexpected or of the wrong shape; the message names all of them.
    """
    known = {source for sources in SOURCES.values() for source in sources}
    problems = [f"unexpected {name}" for name in tensors if name not in known and not UNUSED.fullmatch(name)]
    converted = {}
    for name, sources in SOURCES.items():
        shape = shapes[name]
        part = torch.Size([shape[0] // len(sources), *shape[1:]]) if shape else shape
        for source in sources:
            if source not in tensors:
                problems.append(f"missing {source}")
            elif _without_leading_ones(tensors[source].shape) != _without_leading_ones(part):
                problems.append(f"{source} of shape {tuple(tensors[source].shape)} instead of {tuple(part)}")
        if not problems:
            parts = [tensors[source].reshape(part) for source in sources]
            converted[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
    if problems:
        raise ValueError(f"The checkpoint does not fit this configuration: {'; '.join(problems)}.")
    return converted


def _without_leading_ones(shape: torch.Size) -> list[int]:
    """The released prompt vectors have two more dimensions than ours, each of length 1."""
    return list(dropwhile(lambda length: length == 1, shape))
