"""The limits of models that visitors name, checked in their JSON files before any weights are fetched."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from modeling_fbclip import FBCLIPConfig, FBCLIPProcessor

MAX_JSON_BYTES = 20_000_000  # of one file; CLIP's tokenizer has 4
MAX_IMAGE_SIZE = 1024  # pixels a side of a model's input
MAX_PATCHES = 6000  # of an image
# The largest numbers that a configuration may have, by name; others are at most `MAX_NUMBER`.
LARGEST = {
    "attention_head_dim": 256,
    "attention_heads": 64,
    "foreground_smoothing_window": 101,
    "hidden_size": 2048,
    "image_size": MAX_IMAGE_SIZE,
    "intermediate_size": 8192,
    "max_position_embeddings": 512,
    "num_attention_heads": 64,
    "num_hidden_layers": 64,
    "num_scale_weights": 64,
    "projection_dim": 4096,
    "spatial_window": 31,
}
MAX_NUMBER = 200_000  # more than any vocabulary of CLIP
MAX_ITEMS = 512  # of a list


def check_json(folder: Path, kind: str) -> None:
    """
    Checks a model's JSON files: their sizes, the kind of model, its dimensions, and the patterns of its tokenizer.

    Raises:
        ValueError: in one sentence, if one of them exceeds a limit.
    """
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in (".json", ".txt") and file.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"{file.name} has more than {MAX_JSON_BYTES / 1e6:.0f} MB.")
    config = _read(folder / "config.json")
    if config.get("model_type") != kind:
        raise ValueError(f"config.json is of {config.get('model_type')!r}, not of {kind!r}.")
    _check_numbers("config.json", config)
    if kind == FBCLIPConfig.model_type:
        _check_numbers("processor_config.json", _read(folder / "processor_config.json"))
    if (folder / "tokenizer.json").is_file():
        known = set(_patterns(json.loads(CLIPTokenizer().backend_tokenizer.to_str())))
        if set(_patterns(_read(folder / "tokenizer.json"))) - known:  # one can be made that never ends
            raise ValueError("tokenizer.json has patterns of its own; only those of CLIP are run here.")


def check_settings(config: FBCLIPConfig, processor: FBCLIPProcessor) -> None:
    """
    Checks that a processor is that of its model.

    Raises:
        ValueError: in one sentence, if it is not.
    """
    height, width = processor.image_size
    if max(height, width, config.image_size) > MAX_IMAGE_SIZE:
        raise ValueError(f"its input has {height} by {width} pixels; at most {MAX_IMAGE_SIZE} a side fit here.")
    if height * width > MAX_PATCHES * config.patch_size**2:
        raise ValueError(f"its input has more than {MAX_PATCHES} patches.")
    if height % config.patch_size or width % config.patch_size:
        raise ValueError(f"its input of {height} by {width} pixels has no whole patches of {config.patch_size}.")
    if max(processor.smoothing_sigma, config.smoothing_sigma) > config.image_size:
        raise ValueError(f"its smoothing_sigma is larger than its image of {config.image_size} pixels.")
    context = config.clip_text.max_position_embeddings
    if (processor.prompt_length, processor.context_length) != (config.prompt_length, context):
        raise ValueError(
            f"its processor has prompts of {processor.prompt_length} in {processor.context_length} positions, the "
            f"model of {config.prompt_length} in {context}."
        )


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ValueError(f"it has no {file.name}.")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file.name} is not readable as JSON.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file.name} holds no JSON object.")
    return found


def _check_numbers(file: str, value: Any, name: str = "") -> None:
    """Checks every number below a value, by the name that it stands under."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check_numbers(file, part, str(key))
    elif isinstance(value, list):
        if len(value) > MAX_ITEMS:
            raise ValueError(f"{file}: {name} has {len(value)} items; at most {MAX_ITEMS} fit here.")
        for part in value:
            _check_numbers(file, part, name)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST.get(name, MAX_NUMBER):
        raise ValueError(f"{file}: {name} is {value}; at most {LARGEST.get(name, MAX_NUMBER)} fit here.")


def _patterns(value: Any) -> Iterator[str]:
    """All patterns below a value of a tokenizer's file."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == "Regex":
            yield str(part)
        elif isinstance(part, dict | list):
            yield from _patterns(part)
