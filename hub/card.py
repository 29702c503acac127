"""The model card: a template, filled in from the files that training and evaluation wrote beside the weights."""

import re
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, parse_local_safetensors_file_metadata

from modeling_fbclip.common.hub import is_hub_id
from modeling_fbclip.common.json_files import read_record
from modeling_fbclip.common.licence import DISTRIBUTION
from modeling_fbclip.common.provenance import TRAINING_RECORD
from modeling_fbclip.data.registry import identify
from modeling_fbclip.pretrained_fbclip import CLIP_PREFIX

from .card_tables import card_table, flatten
from .evaluation_report import EVALUATION, EvaluationReport, model_index, read_report
from .terms import Terms

TEMPLATE = Path(__file__).with_name("model_card_template.md")
TAGS = ["anomaly-detection", "anomaly-localization", "clip", "fb-clip"]
THRESHOLDS = ("threshold", "pixel_threshold")
PICTURE = "results.jpg"  # of the model on the sample photographs
# Libraries that the published code imports.
NEEDED = ("torch", "transformers", "safetensors", "pillow", "numpy", "scipy")


def render_card(folder: Path, repo_id: str, terms: Terms = Terms()) -> str:  # noqa: B008 - it cannot change
    r"""
    The card of a model, as the text of `README.md`.

    Args:
        folder (`Path`): The model with its processor, and any of the records, `evaluation.json` and the picture.
        repo_id (`str`): `owner/name` in the examples.
        terms ([`Terms`]): Licence and base model; without its record, the card does not say what is in it.

    Raises:
        `OSError`, `ValueError`: A file is missing or cannot be read.
    """
    config, processor = read_record(folder / "config.json"), read_record(folder / "processor_config.json")
    report = read_report(folder / EVALUATION) if (folder / EVALUATION).is_file() else EvaluationReport([], [])
    clip, training = config.get("clip_name_or_path"), _training(folder, processor)
    base = terms.base_model or (training and training["base_id"]) or clip
    relation = "adapter" if base == clip and not config["includes_clip"] else "finetune"
    is_shown = training is not None and terms.with_record
    data = ModelCardData(
        base_model=base,
        base_model_relation=relation if base else None,
        datasets=[training["hub_id"]] if training and is_shown and training["hub_id"] else None,
        library_name="transformers",
        license=terms.license,
        model_name=repo_id.rpartition("/")[2] if report.sets else None,
        tags=TAGS if training else [*TAGS, "zero-shot"],  # a fine-tuned model has seen its categories
        eval_results=model_index(report.sets, training_seed(folder)) or None,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        repo_id=repo_id,
        clip=clip,
        base=base,
        config=config,
        processor=processor,
        weights=_weights(folder),
        recipe=_recipe(folder / "recipe.json"),
        training=training,
        is_shown=is_shown,
        report=report,
        table=card_table,
        license=terms.license,
        requirements=requirements(),
        python=metadata(DISTRIBUTION)["Requires-Python"],
        picture=PICTURE if (folder / PICTURE).is_file() else None,
    )
    return re.sub(r"\n{3,}", "\n\n", card.content).rstrip() + "\n"


def requirements() -> list[str]:
    """The libraries that the published code imports, with their versions."""
    needed = re.compile(rf"({'|'.join(NEEDED)})\b[^;]*")
    return [requirement for requirement in requires(DISTRIBUTION) or [] if needed.fullmatch(requirement)]


def training_seed(folder: Path) -> int | None:
    """The seed of the training, if it is recorded."""
    if not (folder / TRAINING_RECORD).is_file():
        return None
    seed = _section(read_record(folder / TRAINING_RECORD), "arguments").get("seed")
    return seed if isinstance(seed, int) else None


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


def _training(folder: Path, processor: dict[str, Any]) -> dict[str, Any] | None:
    """The record of `fbclip train`, without the digests of images."""
    if not (folder / TRAINING_RECORD).is_file():
        return None
    record = read_record(folder / TRAINING_RECORD)
    data, base = _section(record, "data"), _section(record, "arguments").get("model")
    hub_id, categories = data.get("hub_id"), data.get("categories")
    found = identify(categories) if isinstance(categories, list) else None
    return {
        "data": data,
        "base": base,
        "base_id": base if isinstance(base, str) and is_hub_id(base) else None,
        "thresholds_are_new": _thresholds_are_new(_section(record, "result"), processor),
        "hub_id": hub_id if isinstance(hub_id, str) and is_hub_id(hub_id) else None,
        "title": found.title if found and found.is_certain else None,
        "rows": [row for name in ("arguments", "result", "environment") for row in flatten(_section(record, name))],
    }


def _thresholds_are_new(result: dict[str, Any], processor: dict[str, Any]) -> bool | None:
    """Whether they are others than at the end of the training; `None` if the record does not say those."""
    if not set(THRESHOLDS) <= set(result):
        return None
    return any(result[name] != processor.get(name) for name in THRESHOLDS)


def _section(record: dict[str, Any], name: str) -> dict[str, Any]:
    """A section of a record, which another program may have written."""
    found = record.get(name, {})
    return found if isinstance(found, dict) else {name: found}
