"""An exported model as a folder that stands alone."""

import copy
import json
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal, cast

import onnx_ir
import torch
from torch import Tensor

from modeling_fbclip import FBCLIPConfig, FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.common.files import is_empty, require_writable, written_aside
from modeling_fbclip.common.licence import write_license
from modeling_fbclip.common.messages import ArgumentError, one_line
from modeling_fbclip.common.provenance import copy_records, find_beside
from modeling_fbclip.export.card import write_card
from modeling_fbclip.export.graph import trace
from modeling_fbclip.export.parity import Parity, compare
from modeling_fbclip.export.precision import PRECISIONS, Precision, compress
from modeling_fbclip.images_fbclip import IMAGE_SUFFIXES, ImageSource
from modeling_fbclip.references_fbclip import model_digest
from modeling_fbclip.runtime_fbclip import FILES, FBCLIPRuntimeModel
from modeling_fbclip.thresholds_fbclip import BORDER

Runtime = Literal["onnx", "openvino"]

INFERENCE = Path(__file__).with_name("inference.py")
PARITY = "parity.json"
INLINE_BYTES = 2**30  # weights above it lie in a file beside the ONNX graph, whose format ends at 2 GB


class OutOfBoundsError(ValueError):
    """An export that differs too much from its model. `parity` says by how much."""

    def __init__(self, parity: Parity) -> None:
        super().__init__(f"not kept: {'; '.join(parity.violations)}")
        self.parity = parity


def export(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    output: str | Path,
    to: Runtime = "onnx",
    precision: Precision = "float32",
    prompts: tuple[str, str] | None = None,
    images: Sequence[ImageSource] | None = None,
    force: bool = False,
    references: FBCLIPReferences | None = None,
) -> Parity:
    r"""
    Exports a model for ONNX Runtime or OpenVINO, and compares the export with it. The folder also has the processor's
    settings and `inference.py`, which needs only NumPy, Pillow and the runtime.

    Args:
        model ([`FBCLIPModel`]): the model.
        processor ([`FBCLIPProcessor`]): its processor.
        output (`str` or `Path`): the folder to write.
        to (`str`, defaults to `"onnx"`): the runtime, `"onnx"` or `"openvino"`.
        precision (`str`, defaults to `"float32"`): how weights are stored: `"float32"`, `"float16"` or `"int8"`.
        prompts (`tuple[str, str]`, *optional*): what a faultless and what a faulty image shows, in place of the
            model's own. The graph holds them.
        images (list of images, *optional*): what the two are compared on. Defaults to the sample photographs.
        force (`bool`, defaults to `False`): whether an export out of its bounds is kept, and a folder that is not
            empty is written to.
        references ([`FBCLIPReferences`], *optional*): good images that the export compares others with. The folder
            has them, and the graph takes them as inputs, so that later they may be others of the same model. Defaults
            to those beside the model, if there are any.

    Returns:
        [`Parity`]: how far the export is from the model. The folder has it as `parity.json`.

    Raises:
        `OutOfBoundsError`: it is too far, so that nothing was written.
        `ImportError`: a library of the extra `onnx` or `openvino` is missing.
        `OSError`, `ValueError`: an argument is wrong, or the folder cannot be written.
    """
    _require_known(to, precision)
    if isinstance(model, FBCLIPRuntimeModel):
        raise ArgumentError("model", "is exported already; take the model that it was exported from")
    if references is None:
        references = FBCLIPReferences.beside(model)
    if references is not None:
        _require_comparable(references, model, processor, prompts)
    target = Path(output)
    if not force and not is_empty(target):
        raise ArgumentError("output", f"{target} is not empty; choose another folder, or `force`")
    require_writable(target)
    pictures = list(sample_photographs() if images is None else images)
    if not pictures:
        raise ArgumentError("images", "there is no image to compare on")
    original = _in_float32(model)
    ids = None if prompts is None else _encoded(processor, prompts)
    with written_aside(target) as aside:
        aside.mkdir()
        config = _config_of(model, to, precision, ids)
        write_graph(trace(original, ids, references is not None), to, precision, aside)
        config.to_json_file(aside / "config.json")
        parity = compare(original, FBCLIPRuntimeModel(config, aside), processor, pictures, ids, references)
        if parity.violations and not force:
            raise OutOfBoundsError(parity)
        (aside / PARITY).write_text(json.dumps(parity.to_dict(), indent=2) + "\n", encoding="utf-8")
        _write_companions(model, processor, parity, references, aside)
    return parity


def sample_photographs() -> list[str]:
    """Those that come with the package."""
    examples = Path(str(files("modeling_fbclip.demo") / "examples"))
    return sorted(str(path) for path in examples.iterdir() if path.name.lower().endswith(IMAGE_SUFFIXES))


def _require_known(to: str, precision: str) -> None:
    for name, given, known in (("to", to, tuple(FILES)), ("precision", precision, PRECISIONS)):
        if given not in known:
            raise ArgumentError(name, f"is {given!r}, but must be one of {', '.join(map(repr, known))}")


def _require_comparable(
    references: FBCLIPReferences, model: FBCLIPModel, processor: FBCLIPProcessor, prompts: tuple[str, str] | None
) -> None:
    if prompts is not None:
        raise ArgumentError("prompts", "do not go with references, which were measured with the model's own")
    try:
        references.check(model, processor)
        references.require_good()
    except ValueError as error:
        raise ArgumentError("references", one_line(error)) from error


def _in_float32(model: FBCLIPModel) -> FBCLIPModel:
    is_plain = model.dtype is torch.float32 and model.device.type == "cpu" and not model.training
    if is_plain:
        return model
    plain = copy.deepcopy(model).eval()
    return cast(FBCLIPModel, torch.nn.Module.to(plain, "cpu", torch.float32))  # `model.to` has no types


def _encoded(processor: FBCLIPProcessor, prompts: tuple[str, str]) -> Tensor:
    try:
        return processor.encode_prompts(*prompts)
    except ValueError as error:
        raise ArgumentError("prompts", one_line(error)) from error


def _config_of(model: FBCLIPModel, to: Runtime, precision: Precision, ids: Tensor | None) -> FBCLIPConfig:
    config = copy.deepcopy(model.config)
    config.runtime, config.precision, config.includes_clip = to, precision, True
    config.clip_name_or_path = config.clip_revision = None
    config.exported_from = model_digest(model)
    if ids is not None:
        config.prompt_input_ids = ids.tolist()
    return config


def write_graph(program: onnx_ir.Model, to: Runtime, precision: Precision, folder: Path) -> None:
    """Writes a traced graph, whose weights it compresses in place, as the files of a runtime."""
    # OpenVINO stores float16 in its own way, which it fuses.
    compress(program.graph, "float32" if (to, precision) == ("openvino", "float16") else precision)
    size = sum(value.const_value.nbytes for value in program.graph.initializers.values() if value.const_value)
    graph, beside = (folder / name for name in FILES["onnx"])
    onnx_ir.save(program, graph, external_data=beside.name if size > INLINE_BYTES else None)
    if to == "onnx":
        return
    import openvino

    converted = openvino.convert_model(graph)
    openvino.save_model(converted, folder / FILES["openvino"][0], compress_to_fp16=precision == "float16")
    del converted  # it reads the files
    graph.unlink()
    beside.unlink(missing_ok=True)


def _write_companions(
    model: FBCLIPModel, processor: FBCLIPProcessor, parity: Parity, references: FBCLIPReferences | None, folder: Path
) -> None:
    """What goes along with the graph: settings, references, the script, licence, card, records."""
    without_tokenizer = copy.copy(processor)
    without_tokenizer.tokenizer = None
    if references is not None:
        references.save_pretrained(folder)
    if processor.thresholds_with_references != (references is not None):  # they were set for other numbers
        without_tokenizer.threshold = without_tokenizer.pixel_threshold = BORDER
        without_tokenizer.category_thresholds = without_tokenizer.other_thresholds = None
        without_tokenizer.thresholds_mode = None  # the border holds in every mode
        without_tokenizer.thresholds_with_references = references is not None
    without_tokenizer.to_json_file(folder / "processor_config.json")
    shutil.copyfile(INFERENCE, folder / INFERENCE.name)
    write_license(folder)
    own = find_beside(model, "LICENSE")
    if own is not None:
        shutil.copyfile(own, folder / "LICENSE")
    write_card(parity, references is not None, folder)
    copy_records(model, folder)
