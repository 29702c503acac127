"""
Models that visitors name. Their files are not trusted: only JSON, text and safetensors of limited size are downloaded,
without the operator's token, and loaded without running their code.

All of that is tried first in a process of its own, with limits of time and memory: `python -m …demo.visitors NAME
FOLDER` downloads a model, and examines an image with it. What passes is loaded here from the same folder, and deleted.
"""

import os
import signal
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import HfApi, snapshot_download
from PIL import Image

from modeling_fbclip import FBCLIPConfig, FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.common.hub import is_hub_id
from modeling_fbclip.common.messages import one_line
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.loading import on_device, quieten_libraries

from .model_limits import check_json, check_settings

JSON_FILES = ("*.json", "*.txt")
WEIGHTS = ("*.safetensors",)
MAX_HUB_BYTES = 2_000_000_000  # of a model's files; CLIP ViT-L/14 in float32 has 1.7
MAX_MEMORY = 12_000_000_000  # bytes of address space, of which torch takes some by itself
TOO_LITTLE_MEMORY = f"it needs more than {MAX_MEMORY / 1e9:.0f} GB of memory, or is damaged."
SIGNS_OF_LITTLE_MEMORY = ("memory", "alloc", "start new thread", "map segment")  # in messages of libraries
DOWNLOAD_SECONDS = 900
TRIAL_SECONDS = 90  # to load it and to examine one image
EXAMINATION_SECONDS = 20  # for one image, of those
MODEL, CLIP = "model", "clip"  # folders
SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def load_visitors(name: str) -> Detector:
    """
    The detector of a public model on the Hub.

    Raises:
        ValueError: in one line, if there is no such model, or it does not keep to the limits.
    """
    if not is_hub_id(name):
        raise ValueError(f"{one_line(name)!r} is not in the list of models; a Hub id has the form owner/name.")
    with TemporaryDirectory(prefix="fbclip-model-") as folder:
        if reason := _try_apart(name, Path(folder)):
            raise ValueError(f"{name} cannot be loaded: {reason}")
        try:
            return _load(Path(folder))
        except Exception as error:  # files that are not trusted may be wrong in any way
            raise ValueError(f"{name} cannot be loaded: {_without_paths(error, folder)}") from error


def _try_apart(name: str, folder: Path) -> str:
    """What is wrong with a model, by a process of its own; empty if nothing is."""
    command = [sys.executable, "-m", __name__, name, str(folder)]
    environment = {key: value for key, value in os.environ.items() if key not in SECRETS}
    try:
        done = subprocess.run(
            command,
            env=environment | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS + TRIAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"its download takes more than {DOWNLOAD_SECONDS // 60} minutes."
    if done.returncode == 0:
        return ""
    if done.returncode == -signal.SIGALRM:
        return f"it takes more than {TRIAL_SECONDS} seconds to load and to examine an image."
    lines = done.stderr.strip().splitlines()
    is_told = done.returncode == 1 and lines
    return lines[-1] if is_told else TOO_LITTLE_MEMORY


def main(name: str, folder: Path) -> None:
    """Downloads a model and tries it. Ends with the reason on stderr if it does not keep to the limits."""
    quieten_libraries()
    try:
        _limit_memory()
        _download(name, None, folder / MODEL)
        config = FBCLIPConfig.from_pretrained(folder / MODEL)
        if not config.includes_clip:
            _download(str(config.clip_name_or_path), config.clip_revision, folder / CLIP)
        if hasattr(signal, "setitimer"):  # not on Windows
            signal.setitimer(signal.ITIMER_REAL, TRIAL_SECONDS)  # ends this process
        detector = _load(folder)
        start = time.monotonic()
        detector(Image.new("RGB", (64, 64), "gray"))
        if time.monotonic() - start > EXAMINATION_SECONDS:
            raise ValueError(f"it takes more than {EXAMINATION_SECONDS} seconds an image.")
    except Exception as error:  # files that are not trusted may be wrong in any way
        is_full = isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS_OF_LITTLE_MEMORY)
        sys.exit(TOO_LITTLE_MEMORY if is_full else _without_paths(error, str(folder)))


def _load(folder: Path) -> Detector:
    config = FBCLIPConfig.from_pretrained(folder / MODEL)
    if not config.includes_clip:
        config.clip_name_or_path, config.clip_revision = str(folder / CLIP), None
    processor = FBCLIPProcessor.from_pretrained(folder / MODEL, trust_remote_code=False)
    check_settings(config, processor)
    model = FBCLIPModel.from_pretrained(
        folder / MODEL, config=config, attn_implementation="sdpa", use_safetensors=True, dtype=torch.float32
    )
    return Detector(on_device(model), processor)


def _download(name: str, revision: str | None, folder: Path) -> None:
    """Downloads a model from the Hub, also if a folder has this name; its weights after its JSON."""
    if not is_hub_id(name):
        raise ValueError(f"{one_line(name)!r} is not a Hub id.")
    info = HfApi().model_info(name, revision=revision, files_metadata=True, token=False)
    wanted = [file for file in info.siblings or [] if any(fnmatch(file.rfilename, p) for p in JSON_FILES + WEIGHTS)]
    size = sum(file.size or 0 for file in wanted)
    if size > MAX_HUB_BYTES:
        raise ValueError(f"{name} has {size / 1e9:.1f} GB; at most {MAX_HUB_BYTES / 1e9:.0f} GB fit here.")
    for patterns, check in ((JSON_FILES, True), (WEIGHTS, False)):
        snapshot_download(name, revision=info.sha, allow_patterns=list(patterns), token=False, local_dir=folder)
        if check:
            check_json(folder, kind="clip" if folder.name == CLIP else "fbclip")


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))


def _without_paths(error: Exception, folder: str) -> str:
    """The message on one line, without the server's folder."""
    text = str(error)
    for path in (str(Path(folder).resolve()), folder):
        text = text.replace(f"{path}/{MODEL}/", "").replace(f"{path}/", "").replace(path, "its folder")
    return one_line(text)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
