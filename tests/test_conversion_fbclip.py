"""The authors' checkpoints: read safely, converted completely, or refused with the names of wrong tensors."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import GOLDEN_FOLDERS, GoldenCase, load_golden_case
from modeling_fbclip import FBCLIPModel


@pytest.fixture
def compact() -> GoldenCase:
    return load_golden_case(GOLDEN_FOLDERS[0])


@pytest.fixture
def checkpoint(compact: GoldenCase) -> dict[str, Any]:
    return torch.load(compact.checkpoint_path, weights_only=True)


def convert(checkpoint: Any, folder: Path, case: GoldenCase, **overrides: Any) -> FBCLIPModel:
    path = folder / "checkpoint.pth"
    torch.save(checkpoint, path)
    return FBCLIPModel.from_official_checkpoint(path, clip=case.clip_folder, **(case.config_overrides | overrides))


def test_prompt_ids_and_length_come_from_the_checkpoint(checkpoint, compact, tmp_path) -> None:
    torch.save(checkpoint, tmp_path / "c.pth")
    overrides = {name: value for name, value in compact.config_overrides.items() if name != "prompt_input_ids"}
    model = FBCLIPModel.from_official_checkpoint(tmp_path / "c.pth", clip=compact.clip_folder, **overrides)
    assert model.config.prompt_length == 12
    assert model.config.prompt_input_ids == compact.forward["prompt_input_ids"].tolist()


def test_a_numpy_loss_as_in_the_released_files_is_read(checkpoint, compact, tmp_path) -> None:
    checkpoint["loss"] = np.float64(0.25)
    assert convert(checkpoint, tmp_path, compact).scale_weights.shape == (6,)


def test_code_in_the_file_is_refused_and_not_run(compact, tmp_path) -> None:
    class Intruder:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "was_here",)

    with (tmp_path / "c.pth").open("wb") as file:
        pickle.dump({"prompt_learner": Intruder()}, file, protocol=2)
    with pytest.raises(ValueError, match=r"c\.pth: no checkpoint that can be read safely"):
        FBCLIPModel.from_official_checkpoint(tmp_path / "c.pth", clip=compact.clip_folder)
    assert not (tmp_path / "was_here").exists()


def test_a_missing_file_is_named(compact, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth: no such file"):
        FBCLIPModel.from_official_checkpoint(tmp_path / "nowhere.pth", clip=compact.clip_folder)


@pytest.mark.parametrize("content", [{}, [1, 2], {"prompt_learner": {}}, {"state_dict": {}}])
def test_another_kind_of_checkpoint_is_refused(content, compact, tmp_path) -> None:
    with pytest.raises(ValueError, match="not a released FB-CLIP checkpoint"):
        convert(content, tmp_path, compact)


@pytest.mark.parametrize(
    ("group", "name", "change", "message"),
    [
        ("model_trainable_params", "fb_Attention.fg_to_q.weight", "drop", "missing fb_Attention.fg_to_q.weight"),
        ("prompt_learner", "ctx_neg", "drop", "missing prompt_learner.ctx_neg"),
        ("model_trainable_params", "fb_Attention.surprise", "add", "unexpected fb_Attention.surprise"),
        ("prompt_learner", "token_prefix_neutral", "add", "unexpected prompt_learner.token_prefix_neutral"),
        (
            "model_trainable_params",
            "text_projection_mlp.2.weight",
            "add",
            r"text_projection_mlp.2.weight of shape \(3,\) instead of \(768, 64\)",
        ),
    ],
)
def test_a_wrong_tensor_is_named(group, name, change, message, checkpoint, compact, tmp_path) -> None:
    if change == "drop":
        del checkpoint[group][name]
    else:
        checkpoint[group][name] = torch.zeros(3)
    with pytest.raises(ValueError, match=message):
        convert(checkpoint, tmp_path, compact)


def test_an_unexpected_entry_is_named(checkpoint, compact, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"unexpected entries.*optimizer"):
        convert(checkpoint | {"optimizer": {}}, tmp_path, compact)


def test_another_attention_width_is_an_error_with_both_shapes(checkpoint, compact, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"fb_Attention.fg_to_q.weight of shape \(512, 64\) instead of \(256, 64\)"):
        convert(checkpoint, tmp_path, compact, attention_heads=4)
