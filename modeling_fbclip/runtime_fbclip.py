"""An exported model: a graph that ONNX Runtime or OpenVINO computes in place of PyTorch, used as any other model."""

import shutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import cached_file

from .configuration_fbclip import FBCLIPConfig
from .digests_fbclip import file_sha256
from .inputs_fbclip import check_images
from .modeling_fbclip import FBCLIPOutput
from .references_fbclip import FBCLIPReferences, PlacedReferences

# Names in the graph, and of what a graph with references has beside them.
INPUT, OUTPUTS = "pixel_values", ("image_scores", "anomaly_maps")
REFERENCE_INPUTS, REFERENCE_OUTPUTS = ("references", "reference_scale"), ("reference_scores", "reference_maps")
Run = Callable[..., list[np.ndarray]]  # inputs and outputs in the order of the graph

# The files of each runtime, the graph first. Large weights lie beside the graph.
FILES = {
    "onnx": ("model.onnx", "model.onnx.data"),
    "openvino": ("openvino_model.xml", "openvino_model.bin"),
}
LIBRARIES = {"onnx": "onnxruntime", "openvino": "openvino"}
# Arguments that find the files of a checkpoint.
PLACE_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


class FBCLIPRuntimeModel(PreTrainedModel):
    r"""
    What `fbclip export` writes, with the outputs `image_scores` and `anomaly_maps` of [`FBCLIPModel`], and if it was
    exported with references also `reference_scores` and `reference_maps`. It computes on the processor, takes the
    prompts that it was exported with, and cannot be trained.

    [`FBCLIPModel.from_pretrained`] gives it for a folder or Hub repository whose `config.json` names a runtime.

    Args:
        config ([`FBCLIPConfig`]): with `runtime` and `precision`.
        folder (`str` or `Path`): has the graph.

    Raises:
        `ImportError`: the runtime is not installed.
        `OSError`, `ValueError`: the folder has no graph, or one that the runtime cannot load.
    """

    config: FBCLIPConfig
    config_class = FBCLIPConfig
    main_input_name = "pixel_values"
    _supports_sdpa = _supports_flash_attn = True  # so that any configuration loads; the graph has its own attention
    digest: Tensor
    prompt_input_ids: Tensor
    loaded_from: dict[str, Any] | None = None
    dtype = torch.float32  # type: ignore[assignment] # of inputs and outputs

    def __init__(self, config: FBCLIPConfig, folder: str | Path) -> None:
        super().__init__(config)
        self.graph = Path(folder) / FILES[_known(config)][0]
        digests = "".join(map(file_sha256, self.files()))
        self.register_buffer("digest", torch.frombuffer(bytearray.fromhex(digests), dtype=torch.uint8))
        self.register_buffer("prompt_input_ids", torch.tensor(config.prompt_input_ids), persistent=False)
        self._run, self.has_references = open_graph(self.graph, config)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where inputs come from and outputs go to. The graph is computed on the processor."""
        return self.digest.device

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | PathLike[str], *_: Any, config: FBCLIPConfig, **kwargs: Any
    ) -> "FBCLIPRuntimeModel":
        """Those arguments of [`FBCLIPModel.from_pretrained`] that find the checkpoint. `dtype` must be float32."""
        source = pretrained_model_name_or_path
        dtype = kwargs.get("dtype")
        if dtype not in (None, "auto", "float32", torch.float32):
            raise ValueError(
                f"{source} was exported in {config.precision}, which `dtype` cannot change; leave it at float32."
            )
        where = {name: kwargs[name] for name in PLACE_ARGUMENTS if name in kwargs}
        first, *others = FILES[_known(config)]
        graph = cached_file(source, first, **where)
        for name in others:
            cached_file(source, name, _raise_exceptions_for_missing_entries=False, **where)
        model = cls(config, Path(str(graph)).parent)
        model.loaded_from = {"name": str(source)} | where
        model.name_or_path = model.config.name_or_path = str(source)
        return model

    def forward(
        self,
        pixel_values: Tensor,
        prompt_input_ids: Tensor | None = None,
        references: FBCLIPReferences | PlacedReferences | None = None,
        output_hidden_states: bool | None = None,
    ) -> FBCLIPOutput:
        r"""
        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Images normalised by the processor. Height and width are multiples of CLIP's patch size.
            references ([`FBCLIPReferences`] or [`PlacedReferences`], *optional*):
                As for [`FBCLIPModel`]. A model that was exported with references needs some: these or others.

        Raises:
            `ValueError`: an image has the wrong shape, or more is asked for than the graph has.
        """
        batch_size, grid = check_images(self.config, pixel_values, None, None)
        if min(grid) < 2:
            raise ValueError("An exported model needs 2 patches or more a side, but got {} by {}.".format(*grid))
        if prompt_input_ids is not None and not torch.equal(prompt_input_ids.cpu(), self.prompt_input_ids.cpu()):
            raise ValueError("This model was exported with its prompts; export it again with others (--prompts).")
        if output_hidden_states:
            raise ValueError(
                "An exported model gives no tokens of patches, which references are made of; take the model that it "
                "was exported from."
            )
        if references is None and self.has_references:
            raise ValueError("This model was exported with references; pass `references`, these or others.")
        pixels = pixel_values.detach().float().cpu().contiguous().numpy()
        if references is None:
            found = self._run(pixels)
        else:
            placed = references.at([0] * batch_size) if isinstance(references, FBCLIPReferences) else references
            found = self._compare(pixels, placed, grid)
        names = OUTPUTS + REFERENCE_OUTPUTS if self.has_references else OUTPUTS
        tensors = (torch.from_numpy(values).to(pixel_values.device) for values in found)
        outputs: dict[str, Any] = dict(zip(names, tensors, strict=True))
        return FBCLIPOutput(**outputs)

    def _compare(self, pixels: np.ndarray, references: PlacedReferences, grid: tuple[int, int]) -> list[np.ndarray]:
        """The outputs of a batch. The images go one by one, since each is compared with all patches at once."""
        references.check(self)  # type: ignore[arg-type] # it has what is asked of a model
        parts = []
        for image, view in zip(pixels, references.views, strict=True):
            view.require_grid(grid)
            parts.append(self._run(image[None], *view.arrays))
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    def files(self) -> list[Path]:
        """Those of the graph."""
        beside = (self.graph.with_name(name) for name in FILES[_known(self.config)])
        return [file for file in beside if file.is_file()]

    def save_pretrained(self, save_directory: str | PathLike[str], **_: Any) -> None:  # type: ignore[override]
        """Copies the graph and saves the configuration."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        for file in self.files():
            shutil.copyfile(file, Path(save_directory, file.name))
        self.config.to_json_file(Path(save_directory, "config.json"))


def open_graph(graph: Path, config: FBCLIPConfig) -> tuple[Run, bool]:
    """
    A function that computes the outputs of a graph, with as many threads as PyTorch has, and whether references are
    among the inputs.
    """
    name = _known(config)
    try:
        library: Any = import_module(LIBRARIES[name])
    except ImportError as error:
        message = f"An {name} model needs the library {LIBRARIES[name]}: pip install 'modeling-fbclip[{name}]'"
        raise ImportError(message, name=LIBRARIES[name]) from error
    threads = torch.get_num_threads()
    try:
        if name == "onnx":
            options = library.SessionOptions()
            options.intra_op_num_threads = threads
            # Else its idle threads take the processor from PyTorch's, which is then ten times slower.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            session = library.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            names = [each.name for each in session.get_inputs()]
            return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True))), len(names) > 1
        settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads}
        if config.precision != "int8":  # whose bounds allow the processor's own numbers, such as bfloat16
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        compiled = _openvino_core().compile_model(graph, "CPU", settings)
        return lambda *inputs: [values.copy() for values in compiled(inputs).values()], len(compiled.inputs) > 1
    except Exception as error:  # ONNX Runtime has a class for each kind, and no common one
        raise ValueError(f"{graph}: cannot be loaded by {LIBRARIES[name]}: {error}") from error


@cache
def _openvino_core() -> Any:
    """
    One for the process. Its CPU plugin gives the thread a stack for signals and frees it with the last core; if that
    happens in another thread, the next signal that has a handler ends the process.
    """
    return import_module("openvino").Core()


def _known(config: FBCLIPConfig) -> str:
    if config.runtime not in FILES:
        raise ValueError(f"`runtime` is {config.runtime!r}, but must be one of {', '.join(map(repr, FILES))}.")
    return config.runtime
