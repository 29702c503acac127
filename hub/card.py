"""The model card: a template, filled in from the files that training and evaluation wrote beside the weights."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, parse_local_safetensors_file_metadata

from modeling_fbclip.common.hub import is_hub_id
from modeling_fbclip.common.json_files import read_record
from modeling_fbclip.common.provenance import TRAINING_RECORD
from modeling_fbclip.data.registry import identify
from modeling_fbclip.pretrained_fbclip import CLIP_PREFIX

from .card_tables import card_table, flatten
from .evaluation_report import EVALUATION, EvaluationReport, model_index, read_report

TEMPLATE = Path(__file__).with_name("model_card_template.md")
TAGS = ["anomaly-detection", "anomaly-localization", "zero-shot", "clip", "fb-clip"]


def render_card(folder: Path, repo_id: str) -> str:
    r"""
    The card of a model, as the text of `README.md`.

    Args:
        folder (`Path`): The model with its processor, and any of `recipe.json`, `training_record.json` and
            `evaluation.json`.
        repo_id (`str`): `owner/name` in the examples.

    Raises:
        `OSError`, `ValueError`: A file is missing or cannot be read.
    """
    config, processor = read_record(folder / "config.json"), read_record(folder / "processor_config.json")
    report = read_report(folder / EVALUATION) if (folder / EVALUATION).is_file() else EvaluationReport([], [])
    clip, training = config.get("clip_name_or_path"), _training(folder / TRAINING_RECORD)
    data = ModelCardData(
        base_model=clip,
        base_model_relation=None if clip is None else "finetune" if config["includes_clip"] else "adapter",
        datasets=[training["hub_id"]] if training and training["hub_id"] else None,
        library_name="transformers",
        license="apache-2.0",
        model_name=repo_id.rpartition("/")[2] if report.sets else None,
        tags=TAGS,
        eval_results=model_index(report.sets) or None,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        repo_id=repo_id,
        clip=clip,
        config=config,
        processor=processor,
        weights=_weights(folder),
        recipe=_recipe(folder / "recipe.json"),
        training=training,
        report=report,
        table=card_table,
    )
    return re.sub(r"\n{3,}", "\n\n", card.content).rstrip() + "\n"


def _weights(folder: Path) -> dict[str, Any]:
    """Numbers of parameters, and megabytes."""
    files = list(folder.glob("*.safetensors"))
    tensors = [parse_local_safetensors_file_metadata(file).tensors for file in files]
    counts = {name: tensor.parameter_count for found in tensors for name, tensor in found.items()}
    return {
        "total": sum(counts.values()),
        "clip": sum(count for name, count in counts.items() if name.startswith(CLIP_PREFIX)),
        "megabytes": sum(file.stat().st_size for file in files) / 1e6,
    }


def _recipe(path: Path) -> dict[str, Any] | None:
    """How the bundled model was made: texts as they are, the rest as tables."""
    if not path.is_file():
        return None
    record = read_record(path)
    texts = {name: value for name, value in record.items() if isinstance(value, str)}
    settings = {name: value for name, value in record.items() if name not in texts and name != "stages"}
    return {"texts": texts, "stages": list(flatten(_section(record, "stages"))), "settings": list(flatten(settings))}


def _training(path: Path) -> dict[str, Any] | None:
    """The record of `fbclip train`, without the digests of images."""
    if not path.is_file():
        return None
    record = read_record(path)
    data = _section(record, "data")
    hub_id, categories = data.get("hub_id"), data.get("categories")
    found = identify(categories) if isinstance(categories, list) else None
    return {
        "data": data,
        "hub_id": hub_id if isinstance(hub_id, str) and is_hub_id(hub_id) else None,
        "title": found.title if found and found.is_certain else None,
        "rows": [row for name in ("arguments", "result", "environment") for row in flatten(_section(record, name))],
    }


def _section(record: dict[str, Any], name: str) -> dict[str, Any]:
    """A section of a record, which another program may have written."""
    found = record.get(name, {})
    return found if isinstance(found, dict) else {name: found}
