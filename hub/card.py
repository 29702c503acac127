"""The model card: the template, filled in from the files that training and evaluation wrote beside the weights."""

import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from safetensors import safe_open

from modeling_fbclip.data.registry import identify

from .results import flatten, markdown_table, model_index, read_circumstances, read_json, read_results
from .upload import is_hub_id

TEMPLATE = Path(__file__).with_name("model_card_template.md")
TAGS = ["anomaly-detection", "anomaly-localization", "zero-shot", "clip", "fb-clip"]
# The Hub knows no task of anomaly detection; this is the nearest.
PIPELINE_TAG = "image-segmentation"


def render_card(folder: Path, repo_id: str) -> str:
    r"""
    The card of a model, as the text of `README.md`.

    Args:
        folder (`Path`): The model with its processor and, as far as there are such, `recipe.json` or
            `training_record.json`, and `evaluation.json`.
        repo_id (`str`): `owner/name` that the examples load from.

    Raises:
        `OSError`, `ValueError`: A file is missing or cannot be read.
    """
    config, processor = read_json(folder / "config.json"), read_json(folder / "processor_config.json")
    results = read_results(folder)
    clip, training = config.get("clip_name_or_path"), _training(folder)
    data = ModelCardData(
        base_model=clip,
        base_model_relation=None if clip is None else "finetune" if config["includes_clip"] else "adapter",
        datasets=[training["hub_id"]] if training and training["hub_id"] else None,
        library_name="transformers",
        license="apache-2.0",
        model_name=repo_id.rpartition("/")[2] if results else None,
        pipeline_tag=PIPELINE_TAG,
        tags=TAGS,
        eval_results=model_index(results) or None,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        repo_id=repo_id,
        clip=clip,
        config=config,
        vision=config["clip_config"]["vision_config"],
        processor=processor,
        weights=_weights(folder),
        recipe=_recipe(folder),
        training=training,
        results=results,
        circumstances=read_circumstances(folder),
        table=markdown_table,
    )
    return re.sub(r"\n{3,}", "\n\n", card.content).rstrip() + "\n"


def _weights(folder: Path) -> dict[str, Any]:
    """Numbers of parameters and megabytes, from the headers of the weight files."""
    clip = total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - no dictionary
                count = prod(tensors.get_slice(name).get_shape())
                total += count
                clip += count if name.startswith("clip.") else 0
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return {"total": total, "clip": clip, "parts": total - clip, "megabytes": size / 1e6}


def _recipe(folder: Path) -> dict[str, Any] | None:
    """How the bundled model was made: its texts, and everything else as a table."""
    path = folder / "recipe.json"
    if not path.is_file():
        return None
    record = read_json(path)
    texts = {name: value for name, value in record.items() if isinstance(value, str)}
    rest = {name: value for name, value in record.items() if name not in texts and name != "stages"}
    return {"texts": texts, "stages": list(flatten(_section(record, "stages"))), "settings": list(flatten(rest))}


def _training(folder: Path) -> dict[str, Any] | None:
    """What `fbclip train` recorded, without the images' digests."""
    path = folder / "training_record.json"
    if not path.is_file():
        return None
    record = read_json(path)
    data = _section(record, "data")
    hub_id, categories = data.get("hub_id"), data.get("categories")
    known = identify(categories) if isinstance(categories, list) else None
    return {
        "data": data,
        "hub_id": hub_id if isinstance(hub_id, str) and is_hub_id(hub_id) else None,
        "title": known.title if known else None,
        "rows": list(_training_rows(record)),
    }


def _training_rows(record: dict[str, Any]) -> Iterator[dict[str, str]]:
    for name in ("arguments", "result", "environment"):
        yield from flatten(_section(record, name))


def _section(record: dict[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name, {})
    return found if isinstance(found, dict) else {name: found}
