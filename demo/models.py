"""
The models to choose from, each loaded once.

The operator of the server offers folders and Hub ids, and trusts them. A visitor may name any public model on the
Hub, and its files are not trusted: only JSON, text and safetensors of limited size are downloaded, without the
operator's token. They are loaded without running their code, then deleted. A visitor's name is never used as a path.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import HfApi, snapshot_download

from modeling_fbclip import FBCLIPConfig, FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.common.hub import is_hub_id
from modeling_fbclip.common.messages import ArgumentError, one_line
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.loading import load_detector, on_device

BUNDLED = "bundled (tiny)"
HUB_FILES = ("*.json", "*.txt", "*.safetensors")
MAX_HUB_BYTES = 4_000_000_000
MAX_IMAGE_SIZE = 1024  # pixels a side of a model's input
MAX_VISITORS_MODELS = 2  # in memory at a time, beside those of the operator


class Models:
    """
    Detectors by the names that the page shows.

    Args:
        offered (`Sequence[str]`): folders and Hub ids that the operator offers beside the bundled model. The first
            is the default.

    Attributes:
        names (`list[str]`): the names of the offered models.

    Raises:
        ArgumentError: if two folders have the same name.
    """

    def __init__(self, offered: Sequence[str] = ()) -> None:
        # Visitors see a folder's name without its path.
        sources = [(Path(name).resolve().name if Path(name).is_dir() else name, name) for name in offered]
        self._offered: dict[str, str | None] = dict(sources) | {BUNDLED: None}
        self.names = list(self._offered)
        if len(self.names) != len(sources) + 1:
            raise ArgumentError("model", f"two of the models {', '.join(offered)} have one name; rename a folder")
        self._loaded: OrderedDict[str, Detector] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Detector:
        """
        The detector of an offered model or of a public one on the Hub. It is loaded if it is not in memory.

        Raises:
            ValueError: in one line, if it cannot be loaded.
        """
        name = str(name)  # a client may send anything
        with self._lock:
            if name not in self._loaded:
                offered = name in self._offered
                self._loaded[name] = load_detector(self._offered[name]) if offered else _load_visitors(name)
            self._loaded.move_to_end(name)
            visitors = [known for known in self._loaded if known not in self._offered]
            for oldest in visitors[:-MAX_VISITORS_MODELS]:
                del self._loaded[oldest]
            return self._loaded[name]

    def is_loaded(self, name: str) -> bool:
        """Whether `get` returns at once."""
        return str(name) in self._loaded


def _load_visitors(name: str) -> Detector:
    if not is_hub_id(name):
        raise ValueError(f"{one_line(name)!r} is not in the list of models; a Hub id has the form owner/name.")
    try:
        with TemporaryDirectory(prefix="fbclip-model-") as folder:
            return _load_from_hub(name, Path(folder))
    except Exception as error:  # files that are not trusted may be wrong in any way
        raise ValueError(f"{name} cannot be loaded: {one_line(error)}") from error


def _load_from_hub(name: str, folder: Path) -> Detector:
    _download(name, None, folder / "model")
    config = FBCLIPConfig.from_pretrained(folder / "model")
    processor = FBCLIPProcessor.from_pretrained(folder / "model", trust_remote_code=False)
    if max(config.image_size, *processor.image_size) > MAX_IMAGE_SIZE:
        raise ValueError(f"its input has {processor.image_size} pixels; at most {MAX_IMAGE_SIZE} a side fit here")
    if not config.includes_clip:
        _download(str(config.clip_name_or_path), config.clip_revision, folder / "clip")
        config.clip_name_or_path, config.clip_revision = str(folder / "clip"), None
    model = FBCLIPModel.from_pretrained(
        folder / "model", config=config, attn_implementation="sdpa", use_safetensors=True, dtype=torch.float32
    )
    return Detector(on_device(model), processor)


def _download(name: str, revision: str | None, folder: Path) -> None:
    """Downloads a model's files from the Hub, also if there is a folder of this name."""
    if not is_hub_id(name):
        raise ValueError(f"{one_line(name)!r} is not a Hub id")
    info = HfApi().model_info(name, revision=revision, files_metadata=True, token=False)
    size = sum(file.size or 0 for file in info.siblings or [])
    if size > MAX_HUB_BYTES:
        raise ValueError(f"{name} has {size / 1e9:.1f} GB, more than the {MAX_HUB_BYTES / 1e9:.0f} GB that fit here")
    snapshot_download(name, revision=info.sha, allow_patterns=list(HUB_FILES), token=False, local_dir=folder)
