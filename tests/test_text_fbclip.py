"""The text branch agrees with its literal form, and its features are cached until something changes."""

from collections.abc import Callable
from typing import Any

import pytest
import reference
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.ao.quantization import quantize_dynamic
from torch.nn.utils import parametrize
from transformers import CLIPModel

from conftest import TINY_OVERRIDES, TINY_PROMPT_IDS, make_tiny_clip, quick, randomize
from modeling_fbclip import FBCLIPConfig, text_fbclip
from modeling_fbclip.text_fbclip import FBCLIPTextBranch, TextFeaturesCache, embed_prompts, text_features

CLIP = make_tiny_clip().requires_grad_(False)  # read only
IDS = torch.tensor(TINY_PROMPT_IDS)


def make_branch(clip: CLIPModel, seed: int, **overrides: float) -> FBCLIPTextBranch:
    branch = FBCLIPTextBranch(FBCLIPConfig(clip_config=clip.config, **(TINY_OVERRIDES | overrides)))
    randomize(branch, seed)
    return branch.to(clip.dtype).eval()


def official_parameters(branch: FBCLIPTextBranch) -> dict[str, Tensor]:
    """The module's parameters, not copied, in the official names."""
    normal, anomalous = branch.prompt_embeddings
    official = {"prompt_learner.ctx_pos": normal, "prompt_learner.ctx_neg": anomalous}
    official |= {f"token_selector.{name}": value for name, value in branch.token_selector.named_parameters()}
    return official | {
        f"text_projection_mlp.{name}": value for name, value in branch.projection_mlp.named_parameters()
    }


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@quick
@given(
    seed=st.integers(0, 10**6),
    prompt_length=st.integers(1, 20),
    words=st.lists(st.integers(0, 10), min_size=1, max_size=50),
    weights=st.tuples(st.floats(0, 2), st.floats(0, 2)),
)
def test_text_features_and_gradients_equal_the_literal_ones(
    dtype: torch.dtype,
    tolerance: float,
    seed: int,
    prompt_length: int,
    words: list[int],
    weights: tuple[float, float],
) -> None:
    clip = make_tiny_clip(seed).to(dtype).requires_grad_(False)
    numbers = {"attention_pool_weight": weights[0], "end_of_text_weight": weights[1], "prompt_length": prompt_length}
    branch = make_branch(clip, seed + 1, **numbers)
    anomalous = [7] + [2] * prompt_length + words + [11]
    normal = [7] + [2] * prompt_length + words[::-1] + [11]
    ids = torch.tensor([row + [0] * (77 - len(row)) for row in (normal, anomalous)])

    actual = text_features(branch, clip, ids)
    config = FBCLIPConfig(clip_config=clip.config, **(TINY_OVERRIDES | numbers))
    expected = reference.text_features(clip, official_parameters(branch), ids, config)
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)

    difference = torch.linspace(-1, 1, expected.numel(), dtype=dtype).view_as(expected)
    parameters = list(branch.parameters())
    gradients = torch.autograd.grad((actual * difference).sum(), parameters)
    others = torch.autograd.grad((expected * difference).sum(), parameters)
    torch.testing.assert_close(gradients, others, rtol=0, atol=10 * tolerance)


def test_prompt_vectors_replace_the_placeholders_only() -> None:
    branch = make_branch(CLIP, seed=0)
    embeds = embed_prompts(branch, CLIP, IDS)
    words = CLIP.text_model.embeddings.token_embedding(IDS)
    torch.testing.assert_close(embeds[:, 1:5], branch.prompt_embeddings, rtol=0, atol=0)
    torch.testing.assert_close(embeds[:, :1], words[:, :1], rtol=0, atol=0)
    torch.testing.assert_close(embeds[:, 5:], words[:, 5:], rtol=0, atol=0)


def test_padding_changes_the_features() -> None:
    branch = make_branch(CLIP, seed=0)
    padded_with_end = IDS.masked_fill(IDS == 0, 8)
    features = text_features(branch, CLIP, IDS)
    assert (features - text_features(branch, CLIP, padded_with_end)).abs().max() > 1e-3


def test_features_are_unit_rows() -> None:
    features = text_features(make_branch(CLIP, seed=0), CLIP, IDS)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))


class Counted:
    """A cache of a branch's text features that counts how often they are computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clip = make_tiny_clip()
        self.branch = make_branch(self.clip, seed=0)
        self.cache = TextFeaturesCache(self.branch, self.clip)
        self.count = 0
        monkeypatch.setattr(text_fbclip, "text_features", self._compute)

    def _compute(self, *arguments: Any) -> Tensor:
        self.count += 1
        return text_features(*arguments)

    def __call__(self, ids: Tensor = IDS) -> Tensor:
        return self.cache(self.branch, self.clip, ids)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


@torch.no_grad()
def test_features_are_computed_once_while_nothing_changes(counted: Counted) -> None:
    first, second = counted(), counted()
    assert counted.count == 1
    torch.testing.assert_close(second, first, rtol=0, atol=0)


def change_in_place(counted: Counted) -> None:
    counted.branch.token_selector[0].weight.mul_(2)


def change_through_data(counted: Counted) -> None:
    counted.branch.prompt_embeddings.data.mul_(3)


def change_one_entry(counted: Counted) -> None:
    counted.branch.projection_mlp[2].bias[3] += 1


def load_other_weights(counted: Counted) -> None:
    counted.branch.load_state_dict(make_branch(counted.clip, seed=9).state_dict())


def change_clip(counted: Counted) -> None:
    counted.clip.text_model.encoder.layers[0].mlp.fc1.weight.mul_(2)


def change_clip_through_data(counted: Counted) -> None:
    counted.clip.text_projection.weight.data.add_(0.1)


def change_token_embedding(counted: Counted) -> None:
    counted.clip.text_model.embeddings.token_embedding.weight[5].mul_(3)


@pytest.mark.parametrize(
    "change",
    [
        change_in_place,
        change_through_data,
        change_one_entry,
        load_other_weights,
        change_clip,
        change_clip_through_data,
        change_token_embedding,
    ],
)
@torch.no_grad()
def test_features_follow_a_change_of_weights(change: Callable[[Counted], None], counted: Counted) -> None:
    before = counted()
    change(counted)
    after = counted()
    assert (after - before).abs().max() > 1e-6
    torch.testing.assert_close(after, text_features(counted.branch, counted.clip, IDS), rtol=0, atol=0)


@torch.no_grad()
def test_features_follow_the_prompts(counted: Counted) -> None:
    before = counted()
    assert (counted(IDS.flip(0)) - before).abs().max() > 1e-3


def test_features_are_never_kept_while_training(counted: Counted) -> None:
    with torch.no_grad():
        counted()
    assert counted().requires_grad  # in evaluation mode, but gradients are wanted
    counted.branch.train()
    with torch.no_grad():
        counted()
    assert counted.count == 3


def add_hook(counted: Counted) -> None:
    counted.clip.text_projection.register_forward_hook(lambda *_: None)


def add_parametrisation(counted: Counted) -> None:
    parametrize.register_parametrization(counted.clip.text_projection, "weight", torch.nn.Identity())


def add_device_hook(counted: Counted) -> None:
    add_hook_to_module(counted.clip.text_model.encoder.layers[0].mlp, ModelHook())


def quantise(counted: Counted) -> None:
    quantize_dynamic(counted.branch, {torch.nn.Linear}, inplace=True)


@pytest.mark.parametrize("change", [add_hook, add_parametrisation, add_device_hook, quantise])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@torch.no_grad()
def test_features_are_never_kept_with_changed_modules(change: Callable[[Counted], None], counted: Counted) -> None:
    counted()
    change(counted)
    counted()
    counted()
    assert counted.count == 3
