"""
The models to choose from, each loaded once.

The operator of the server names folders and Hub ids, and vouches for them. A visitor may name any public model on the
Hub; it is a stranger's file. So it is downloaded as JSON and safetensors of bounded size, without the operator's
token, and then loaded from that copy, which goes, without code of its own. A visitor's name is never taken for a path.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import HfApi, snapshot_download

from modeling_fbclip import FBCLIPConfig, FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.common.messages import one_line
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.loading import load_detector, on_device

BUNDLED = "bundled (tiny)"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
HUB_FILES = ("*.json", "*.txt", "*.safetensors")
MAX_HUB_BYTES = 4_000_000_000
MAX_IMAGE_SIZE = 1024  # pixels a side, as a model sees an image
MAX_VISITORS_MODELS = 2  # held at a time beside those of the operator


class Models:
    """
    Detectors by the names that the page shows.

    Args:
        offered (`Sequence[str]`): folders and Hub ids that the operator offers beside the bundled model. The first
            of them is the default.

    Raises:
        ValueError: if two folders have one name.
    """

    def __init__(self, offered: Sequence[str] = ()) -> None:
        # A visitor sees a folder's name, not where it lies.
        sources = [(Path(name).resolve().name if Path(name).is_dir() else name, name) for name in offered]
        self._offered: dict[str, str | None] = dict(sources) | {BUNDLED: None}
        if len(self._offered) != len(sources) + 1:
            raise ValueError(f"two of the models {', '.join(offered)} have one name; rename a folder")
        self._loaded: OrderedDict[str, Detector] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Names of the offered models, the default first."""
        return list(self._offered)

    def get(self, name: str) -> Detector:
        """
        The detector of an offered model or of a public one on the Hub, loaded where it is not yet.

        Raises:
            ValueError: in one line, if it cannot be loaded.
        """
        name = str(name)  # a client may send anything
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            self._loaded.move_to_end(name)
            strangers = [known for known in self._loaded if known not in self._offered]
            for oldest in strangers[:-MAX_VISITORS_MODELS]:
                del self._loaded[oldest]
            return self._loaded[name]

    def _load(self, name: str) -> Detector:
        if name not in self._offered:
            return _load_strangers(name)
        return load_detector(self._offered[name])

    def is_loaded(self, name: str) -> bool:
        """Whether `get` returns at once."""
        return str(name) in self._loaded


def _load_strangers(name: str) -> Detector:
    if not HUB_ID.fullmatch(name):
        raise ValueError(f"{one_line(name)!r} is no model of the list; a Hub id is of the form owner/name.")
    try:
        with TemporaryDirectory(prefix="fbclip-model-") as folder:
            return _load_from_hub(name, Path(folder))
    except Exception as error:  # a stranger's files may be wrong in any way
        raise ValueError(f"{name} cannot be loaded: {one_line(error)}") from error


def _load_from_hub(name: str, folder: Path) -> Detector:
    _download(name, None, folder / "model")
    config = FBCLIPConfig.from_pretrained(folder / "model")
    processor = FBCLIPProcessor.from_pretrained(folder / "model", trust_remote_code=False)
    if max(config.image_size, *processor.image_size) > MAX_IMAGE_SIZE:
        raise ValueError(f"it sees images of {processor.image_size} pixels; at most {MAX_IMAGE_SIZE} a side fit here")
    if not config.includes_clip:
        _download(str(config.clip_name_or_path), config.clip_revision, folder / "clip")
        config.clip_name_or_path, config.clip_revision = str(folder / "clip"), None
    model = FBCLIPModel.from_pretrained(
        folder / "model", config=config, attn_implementation="sdpa", use_safetensors=True, dtype=torch.float32
    )
    return Detector(on_device(model), processor)


def _download(name: str, revision: str | None, folder: Path) -> None:
    """The model's files from the Hub, never from a folder that has the name."""
    if not HUB_ID.fullmatch(name):
        raise ValueError(f"{one_line(name)!r} is no Hub id")
    info = HfApi().model_info(name, revision=revision, files_metadata=True, token=False)
    size = sum(file.size or 0 for file in info.siblings or [])
    if size > MAX_HUB_BYTES:
        raise ValueError(f"{name} has {size / 1e9:.1f} GB, more than the {MAX_HUB_BYTES / 1e9:.0f} GB that fit here")
    snapshot_download(name, revision=info.sha, allow_patterns=list(HUB_FILES), token=False, local_dir=folder)
