"""An exported model: a graph that ONNX Runtime or OpenVINO computes in place of PyTorch, used as any other model."""

import shutil
from collections.abc import Callable
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

INPUT, OUTPUTS = "pixel_values", ("image_scores", "anomaly_maps")  # names in the graph
Run = Callable[[np.ndarray], list[np.ndarray]]

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
    What `fbclip export` writes, with the outputs `image_scores` and `anomaly_maps` of [`FBCLIPModel`]. It computes on
    the processor, takes the prompts that it was exported with, and cannot be trained.

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
        self._run = open_graph(self.graph, config)
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
        references: Any = None,
        output_hidden_states: bool | None = None,
    ) -> FBCLIPOutput:
        r"""
        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Images normalised by the processor. Height and width are multiples of CLIP's patch size.

        Raises:
            `ValueError`: an image has the wrong shape, or more is asked for than the graph has.
        """
        _, (height, width) = check_images(self.config, pixel_values, None, None)
        if min(height, width) < 2:
            raise ValueError(f"An exported model needs 2 patches or more a side, but got {height} by {width}.")
        if prompt_input_ids is not None and not torch.equal(prompt_input_ids.cpu(), self.prompt_input_ids.cpu()):
            raise ValueError("This model was exported with its prompts; export it again with others (--prompts).")
        if references is not None or output_hidden_states:
            raise ValueError(
                "An exported model gives no tokens of patches, which references compare; take the model that it was "
                "exported from."
            )
        found = self._run(pixel_values.detach().float().cpu().contiguous().numpy())
        image_scores, anomaly_maps = (torch.from_numpy(values).to(pixel_values.device) for values in found)
        return FBCLIPOutput(image_scores=image_scores, anomaly_maps=anomaly_maps)

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


def open_graph(graph: Path, config: FBCLIPConfig) -> Run:
    """A function that computes the two outputs of a graph, with as many threads as PyTorch has."""
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
            return lambda pixels: session.run(list(OUTPUTS), {INPUT: pixels})
        settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads}
        if config.precision == "float32":  # else the processor's own numbers, such as bfloat16
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        compiled = library.Core().compile_model(graph, "CPU", settings)
        return lambda pixels: [values.copy() for values in compiled([pixels]).values()]
    except RuntimeError as error:
        raise ValueError(f"{graph}: cannot be loaded by {LIBRARIES[name]}: {error}") from error


def _known(config: FBCLIPConfig) -> str:
    if config.runtime not in FILES:
        raise ValueError(f"`runtime` is {config.runtime!r}, but must be one of {', '.join(map(repr, FILES))}.")
    return config.runtime
