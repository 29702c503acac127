"""The command line run in process, a tiny model in a folder, and small photographs."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.cli.__main__ import main


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def fbclip(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `fbclip` with arguments as a shell would hand them over."""

    def run(*arguments: Any) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["fbclip", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main()
        return Outcome(exit_info.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def model_folder(tiny_model: FBCLIPModel, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    tiny_model.save_pretrained(folder)
    FBCLIPProcessor.from_config(tiny_model.config).save_pretrained(folder)
    return folder


@pytest.fixture
def detect(fbclip: Command, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `fbclip detect` with the tiny model, in an empty working folder."""
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    return lambda *arguments: fbclip("detect", *arguments, "--model", model_folder)


@pytest.fixture
def save_photograph() -> Callable[..., Path]:
    """Saves a small image of random pixels, in the format that its name says."""

    def save(path: str | Path, width: int = 20, height: int = 12, seed: int = 0) -> Path:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return Path(path)

    return save
