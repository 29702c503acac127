"""A model's folder as it is published: weights, configuration, code, handler, records and card."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_token
from modeling_fbclip.demo.make_figure import EXAMPLES, draw_samples
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.utils import SAFE_WEIGHTS_NAME

from modeling_fbclip.common.hub import is_hub_id
from modeling_fbclip.common.json_files import read_record
from modeling_fbclip.common.licence import write_license
from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.common.provenance import RECORDS
from modeling_fbclip.configuration_fbclip import FBCLIPConfig
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.loading import LOADING_ERRORS, require_fbclip
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.pretrained_fbclip import CLIP_PREFIX
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.references_fbclip import SETTINGS_NAME, FBCLIPReferences
from modeling_fbclip.runtime_fbclip import FILES

from .card import PICTURE, render_card, requirements, training_seed
from .evaluation_report import EVALUATION, eval_results_yaml, read_report
from .privacy import ABOUT_IMAGES, without_folders
from .terms import Terms

HANDLER = Path(__file__).with_name("handler.py")
# Photographs of the picture of results: two with a real defect, two with a drawn one.
SAMPLES = [EXAMPLES / f"{name}.jpg" for name in ("brick_chipped", "wood_gouged", "grass_cap", "gravel_oil")]
# Settings of a tokenizer that hold on this machine only.
LOADED_FROM = ("is_local", "local_files_only")
EVAL_RESULTS = ".eval_results"
# What is published of an export beside the graph.
EXPORT_FILES = ("config.json", "processor_config.json", "inference.py", "parity.json", "LICENSE", "README.md")
PICKLES = {".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
SECRET = re.compile(
    rb"\bhf_[A-Za-z0-9]{30,}|\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_\w{40}|\bAKIA[0-9A-Z]{16}\b"
    rb"|-----BEGIN [A-Z ]*KEY"
)


def stage_model(
    model_dir: Path,
    target: Path,
    repo_id: str,
    evaluation: Path | None = None,
    with_references: bool = False,
    terms: Terms = Terms(),  # noqa: B008 - it cannot change
) -> None:
    r"""
    Writes the folder of a model that is to be published. The code is that of the installed package.

    Args:
        model_dir (`Path`): Folder of a model and its processor. A model without its CLIP is published without it.
            Exports in its folders `onnx` and `openvino` are published with it.
        target (`Path`): The folder to write; it must not exist. After an error it is removed.
        repo_id (`str`): `owner/name` on the card.
        evaluation (`Path`, *optional*): Report of `fbclip evaluate`. Defaults to `evaluation.json` in `model_dir`.
        with_references (`bool`, defaults to `False`): Whether what the model remembers of good images is published.
        terms ([`Terms`]): Licence and base model, and whether the records of its images are published.

    Raises:
        `OSError`, `ValueError`: The folder holds no such model, or something that must not be published.
    """
    terms.check()
    target.mkdir(parents=True)
    try:
        detector = _save_model(model_dir, target)
        if detector is not None:
            draw_samples(detector, SAMPLES, columns=2).save(target / PICTURE, quality=85)
        if with_references:
            _save_references(model_dir, target)
        for runtime in FILES:
            _copy_export(model_dir / runtime, runtime, target / runtime, with_references)
        for name in RECORDS:
            if (model_dir / name).is_file():
                _copy_record(model_dir / name, target / name)
        if evaluation is not None or (model_dir / EVALUATION).is_file():
            _copy_record(evaluation or model_dir / EVALUATION, target / EVALUATION)
        write_license(target)
        shutil.copyfile(HANDLER, target / HANDLER.name)
        (target / "requirements.txt").write_text("\n".join(requirements()) + "\n", encoding="utf-8")
        (target / "README.md").write_text(render_card(target, repo_id, terms), encoding="utf-8")
        if not terms.with_record:  # the card has read what may be said
            for name in ABOUT_IMAGES:
                (target / name).unlink(missing_ok=True)
        if (target / EVALUATION).is_file() and (
            entries := eval_results_yaml(read_report(target / EVALUATION).sets, training_seed(target))
        ):
            (target / EVAL_RESULTS).mkdir()
            (target / EVAL_RESULTS / "fbclip.yaml").write_text(entries, encoding="utf-8")
        require_publishable(target)
    except BaseException:
        shutil.rmtree(target)
        raise


def require_publishable(folder: Path) -> None:
    r"""
    Raises:
        `ValueError`: A file is hidden, may run code when loaded, or seems to hold a secret; the message names it.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.name.startswith(".") and path.name != EVAL_RESULTS:
            raise ValueError(f"{name}: hidden files are not published; remove it.")
        if path.suffix.lower() in PICKLES and path.name not in FILES["openvino"]:
            raise ValueError(f"{name}: may run code when it is loaded, and is not published; use safetensors.")
        if path.is_file() and path.suffix != ".safetensors" and _has_secret(path.read_bytes()):
            raise ValueError(f"{name}: seems to hold a token or a key, and is not published; remove it from the file.")


def _save_references(model_dir: Path, target: Path) -> None:
    """References under the names of their files alone: the folders of this machine are private."""
    references = FBCLIPReferences.from_pretrained(model_dir)
    names = [Path(name).name for name in references.names]
    references.names = [f"{index} {name}" if names.count(name) > 1 else name for index, name in enumerate(names)]
    references.save_pretrained(target)


def _copy_export(source: Path, runtime: str, target: Path, with_references: bool) -> None:
    """Copies an export for a runtime, if there is one."""
    if not (source / "config.json").is_file():
        return
    if FBCLIPConfig.from_pretrained(source).runtime != runtime:
        raise ValueError(f"{source}: holds no export for {runtime}; move it elsewhere, or export there.")
    compares = (source / SETTINGS_NAME).is_file()
    if compares and not with_references:
        raise ArgumentError("with_references", f"is needed: {source} holds an export, which compares with references")
    target.mkdir()
    if compares:
        _save_references(source, target)
    for name in (*FILES[runtime], *EXPORT_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _copy_record(source: Path, target: Path) -> None:
    target.write_text(json.dumps(without_folders(read_record(source)), indent=2) + "\n", encoding="utf-8")


def _has_secret(content: bytes) -> bool:
    own = get_token()
    return SECRET.search(content) is not None or (own is not None and own.encode() in content)


def _save_model(model_dir: Path, target: Path) -> Detector | None:
    """Saves model and processor. Returns them in float32 if the model has its CLIP and can be run."""
    if not model_dir.is_dir():
        raise ValueError(f"{model_dir}: no such folder.")
    if not (model_dir / "config.json").is_file():
        raise ValueError(f"{model_dir}: holds no config.json; pass the folder that a model was saved to.")
    if any((model_dir / graph).is_file() for graph, _ in FILES.values()):
        raise ValueError(
            f"{model_dir}: is an export; publish its model, with the export in a folder onnx or openvino."
        )
    if not any(model_dir.glob("*.safetensors")):
        raise ValueError(f"{model_dir}: holds no weights as safetensors; save the model with `save_pretrained` first.")
    weights = None
    try:
        require_fbclip(model_dir)
        config = FBCLIPConfig.from_pretrained(model_dir)
        if config.includes_clip:
            model = FBCLIPModel.from_pretrained(model_dir, use_safetensors=True)
        else:
            weights = load_file(model_dir / SAFE_WEIGHTS_NAME)
            model = _frame(config, weights)
        processor = FBCLIPProcessor.from_pretrained(model_dir)
    except LOADING_ERRORS as error:
        raise ValueError(f"{model_dir}: cannot be loaded: {error}") from error
    _forget_folders(model.config, model_dir)
    model.save_pretrained(target, include_clip=config.includes_clip, state_dict=weights)
    for name in LOADED_FROM if processor.tokenizer is not None else ():
        processor.tokenizer.init_kwargs.pop(name, None)
    processor.save_pretrained(target)
    return Detector(nn.Module.to(model, torch.float32), processor) if config.includes_clip else None


def _forget_folders(config: FBCLIPConfig, model_dir: Path) -> None:
    """Removes the folders of this machine: they are private, and do not exist elsewhere."""
    name = config.clip_name_or_path
    if name is not None and (Path(name).is_dir() or not is_hub_id(name)):
        if not config.includes_clip:
            raise ValueError(
                f"{model_dir}: holds the FB-CLIP parts alone, and their CLIP is a folder of this machine, "
                "not of the Hub; save it with `include_clip=True` first."
            )
        config.clip_name_or_path = config.clip_revision = None
    clip_config: Any = config.clip_config
    for part in (clip_config, clip_config.text_config, clip_config.vision_config):
        part.name_or_path = ""


def _frame(config: FBCLIPConfig, parts: dict[str, Tensor]) -> FBCLIPModel:
    """A model without values, to save the FB-CLIP parts with. Its CLIP is not fetched."""
    with torch.device("meta"):
        model = FBCLIPModel(config)
    nn.Module.to(model, next(iter(parts.values())).dtype)  # `model.to` has no types in transformers
    needed = {name: w.shape for name, w in model.state_dict().items() if not name.startswith(CLIP_PREFIX)}
    wrong = {name for name in needed | parts if needed.get(name) != getattr(parts.get(name), "shape", None)}
    if wrong:
        raise ValueError(f"weights are missing, unknown or of another shape: {', '.join(sorted(wrong))}")
    return model
