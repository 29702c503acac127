"""Fixtures of several test files: the golden cases, a tiny random CLIP and model, a synthetic image."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from modeling_fbclip import FBCLIPConfig, FBCLIPModel
from modeling_fbclip.conversion_fbclip import SOURCES

collect_ignore = ["conformance"]  # transformers' own tests, run by `make conformance`
TESTS = Path(__file__).parent
# The compact case is part of the project; the larger ones may lie beside it.
BESIDE = TESTS.parent.parent / "shared" / "golden"
GOLDEN_FOLDERS = [TESTS / "golden" / "compact", BESIDE / "native", BESIDE / "resized"]

# "object without defect." and "object with defect." in the golden cases' vocabulary, after four placeholders.
TINY_PROMPT_IDS = [[7, 2, 2, 2, 2, 5, word, 6, 1, 8] + [0] * 67 for word in (4, 3)]
TINY_OVERRIDES: dict[str, Any] = {
    "image_size": 32,
    "feature_layers": [1, 2, 4],
    "prompt_length": 4,
    "prompt_input_ids": TINY_PROMPT_IDS,
    "attention_heads": 2,
    "attention_head_dim": 8,
}
INSTALL_CHROMIUM = "apt-get install --no-install-recommends chromium chromium-driver"
CHROMIUM_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)

quick = settings(deadline=None, max_examples=25, derandomize=True)


@dataclass(frozen=True)
class Shape:
    """A batch of patch grids, square or not, and the seed of its random numbers."""

    batch_size: int
    height: int
    width: int
    seed: int


SHAPES = st.builds(Shape, st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(0, 10**6))


@dataclass(frozen=True)
class GoldenCase:
    """Numbers of the authors' released code on tiny random weights, and how closely to agree with them."""

    meta: dict[str, Any]
    clip_folder: Path
    checkpoint_path: Path
    forward: dict[str, Tensor]
    training: dict[str, Tensor]

    @property
    def stages(self) -> set[str]:
        """The kinds of tensors in `forward` that are computed rather than given."""
        inputs = {"pixel_values", "masks", "labels", "prompt_input_ids"}
        return {key.split(".")[-1] for key in self.forward} - inputs

    @property
    def grid(self) -> tuple[int, int]:
        side = self.meta["image_side"] // self.meta["config"]["patch"]
        return side, side

    @property
    def config_overrides(self) -> dict[str, Any]:
        return {
            "image_size": self.meta["image_side"],
            "feature_layers": self.meta["feature_layers"],
            "prompt_input_ids": self.forward["prompt_input_ids"].tolist(),
        }

    def load_clip(self) -> CLIPModel:
        return CLIPModel.from_pretrained(self.clip_folder).eval().requires_grad_(False)

    def parameters(self) -> dict[str, Tensor]:
        """Fresh copies of the official parameters, in the names of `training`."""
        checkpoint = torch.load(self.checkpoint_path, weights_only=True)
        context = {f"prompt_learner.{name}": checkpoint["prompt_learner"][name] for name in ("ctx_pos", "ctx_neg")}
        return checkpoint["model_trainable_params"] | context

    def adam(self, parameters: list[Tensor]) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=self.meta["learning_rate"], betas=tuple(self.meta["betas"]))

    def assert_stage_agrees(self, stage: str, actual: Mapping[str, Tensor]) -> None:
        """Every golden tensor whose name ends in `stage`; the hard foreground exactly."""
        tolerance = 0.0 if stage == "foreground" else 1e-5
        for key in (key for key in self.forward if key.split(".")[-1] == stage):
            expected = self.forward[key]
            torch.testing.assert_close(
                actual[key].reshape(expected.shape),
                expected,
                rtol=0,
                atol=tolerance,
                msg=lambda m, k=key: f"{k}: {m}",
            )

    def assert_losses_agree(self, step: int, actual: Mapping[str, Tensor]) -> None:
        for name in ("image_focal", "mask_focal", "dice", "consistency", "loss"):
            expected = self.training[f"step{step}.{name}"]
            torch.testing.assert_close(actual[name].detach(), expected, rtol=0, atol=1e-5)

    def assert_gradients_agree(self, gradients: Mapping[str, Tensor]) -> None:
        """The golden gradients, and no gradient where the released code has none."""
        prefix = "grad."
        expected = {
            name.removeprefix(prefix): value for name, value in self.training.items() if name.startswith(prefix)
        }
        assert {name for name, gradient in gradients.items() if gradient is not None} == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(
                gradients[name].reshape(value.shape), value, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
            )

    def assert_trained_parameters_agree(self, parameters: Mapping[str, Tensor]) -> None:
        """After three steps: loosely where the gradient is rounding noise, unchanged where there is none."""
        initial = self.parameters()
        for name, parameter in parameters.items():
            if f"grad.{name}" not in self.training:
                assert torch.equal(parameter.detach(), initial[name]), f"{name} has changed"
                continue
            has_gradient = self.training[f"grad.{name}"].abs() >= 1e-7
            expected = self.training[f"after3.{name}"]
            error = (parameter.detach().reshape(expected.shape) - expected).abs()
            assert (error <= torch.where(has_gradient, 1e-5, 1e-3)).all(), f"{name} is off by {error.max():.1e}"

    def assert_trained_outputs_agree(self, actual: Mapping[str, Tensor]) -> None:
        for name in ("image_scores", "anomaly_maps"):
            expected = self.training[f"after3_out.{name}"]
            torch.testing.assert_close(actual[name].detach().reshape(expected.shape), expected, rtol=0, atol=1e-5)


def in_official_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of an `FBCLIPModel`, or their gradients, in the names and pieces of the official checkpoint."""
    return {
        official: piece
        for name, sources in SOURCES.items()
        if name in tensors
        for official, piece in zip(sources, torch.atleast_1d(tensors[name]).chunk(len(sources)), strict=True)
    }


@cache
def load_golden_case(folder: Path) -> GoldenCase:
    return GoldenCase(
        meta=json.loads((folder / "meta.json").read_text()),
        clip_folder=folder / "clip",
        checkpoint_path=folder / "official_checkpoint.pth",
        forward=load_file(folder / "forward.safetensors"),
        training=load_file(folder / "training.safetensors"),
    )


@pytest.fixture(scope="session", params=GOLDEN_FOLDERS, ids=lambda folder: folder.name)
def golden_case(request: pytest.FixtureRequest) -> GoldenCase:
    if not request.param.is_dir():
        pytest.skip(f"the golden case {request.param.name!r} is no part of the project and does not lie beside it")
    return load_golden_case(request.param)


def randomize(module: nn.Module, seed: int, std: float = 0.2) -> None:
    """Fill every parameter at random, layer norms around 1, so that no bias and no weight is trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * std
            parameter.copy_(noise + 1 if "norm" in name and name.endswith("weight") else noise)


def make_tiny_clip(seed: int = 0) -> CLIPModel:
    """A random CLIP of a 4 × 4 grid of 8-pixel patches."""
    config = CLIPConfig(
        text_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "vocab_size": 12,
            "bos_token_id": 7,
            "eos_token_id": 8,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 32,
            "image_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_hidden_layers": 4,
            "patch_size": 8,
        },
        projection_dim=24,
    )
    clip = CLIPModel(config).eval()
    randomize(clip, seed)
    return clip


@pytest.fixture
def tiny_clip() -> CLIPModel:
    return make_tiny_clip()


@pytest.fixture
def tiny_config(tiny_clip: CLIPModel) -> FBCLIPConfig:
    return FBCLIPConfig(clip_config=tiny_clip.config, **TINY_OVERRIDES)


def make_tiny_model() -> FBCLIPModel:
    """An untrained FB-CLIP with non-trivial numbers everywhere, in evaluation mode."""
    model = FBCLIPModel.from_clip(make_tiny_clip(), **TINY_OVERRIDES)
    randomize(model.text_branch, seed=1)
    randomize(model.attention, seed=2)
    return model.eval()


@pytest.fixture
def tiny_model() -> FBCLIPModel:
    return make_tiny_model()


@pytest.fixture
def synthetic_image() -> Image.Image:
    """A grey texture, 48 wide and 40 high, with a bright scratch."""
    pixels = np.random.default_rng(0).integers(90, 130, size=(40, 48, 3), dtype=np.uint8)
    pixels[18:21, 10:38] = 240
    return Image.fromarray(pixels)


@contextmanager
def open_chromium() -> Iterator[Any]:
    """A browser, which is closed at the end. FileNotFoundError if there is none here."""
    from selenium import webdriver  # most tests need none of it

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise FileNotFoundError(f"no Chromium here; {INSTALL_CHROMIUM}")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in CHROMIUM_FLAGS.split():
        options.add_argument(flag)
    options.add_argument("--window-size=1280,1100")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with TemporaryDirectory(prefix="fbclip-chromium-", ignore_cleanup_errors=True) as profile:
        options.add_argument(f"--user-data-dir={profile}")
        opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            yield opened
        finally:
            opened.quit()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    with ExitStack() as opened:
        try:
            browser = opened.enter_context(open_chromium())
        except FileNotFoundError as error:
            pytest.skip(str(error))
        yield browser
