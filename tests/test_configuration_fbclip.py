"""The configuration: the paper's numbers by default, a JSON round trip, and errors at construction."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import StrictDataclassError

from conftest import TINY_OVERRIDES, make_tiny_clip
from modeling_fbclip import FBCLIPConfig


def tiny_config(**overrides: Any) -> FBCLIPConfig:
    return FBCLIPConfig(clip_config=make_tiny_clip().config.to_dict(), **(TINY_OVERRIDES | overrides))


def test_defaults_are_those_of_the_paper() -> None:
    config = FBCLIPConfig()
    assert (config.clip_vision.hidden_size, config.clip_vision.num_hidden_layers, config.patch_size) == (1024, 24, 14)
    assert (config.clip_text.hidden_size, config.clip_text.num_hidden_layers, config.projection_dim) == (768, 12, 768)
    assert (config.image_size, config.feature_layers, config.temperature) == (518, [1, 6, 12, 18, 24], 0.07)
    assert (config.attention_heads, config.attention_head_dim, config.num_scale_weights) == (8, 64, 6)
    normal, anomalous = config.prompt_input_ids
    assert normal == [49406, *[343] * 12, 14115, 2193, 44013, 269, 49407, *[0] * 59]
    assert anomalous == [49406, *[343] * 12, 14115, 593, 44013, 269, 49407, *[0] * 59]


def test_every_field_survives_json(tmp_path: Path) -> None:
    config = tiny_config(semantic_mix=0.25, feature_layers=(1, 3), clip_name_or_path="someone/clip", smoothing_sigma=2)
    config.save_pretrained(tmp_path)
    loaded = FBCLIPConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert loaded.feature_layers == [1, 3]
    assert loaded.clip_vision.hidden_size == 32


@pytest.mark.parametrize(
    ("overrides", "what_is_wrong", "what_would_be_right"),
    [
        ({"smoothing_sigma": -1.0}, "'smoothing_sigma'", "greater or equal to 0, got -1.0"),
        ({"temperature": 0.0}, "'temperature'", "greater than 0, got 0.0"),
        ({"temperature": float("nan")}, "'temperature'", "greater than 0, got nan"),
        ({"semantic_mix": 1.5}, "'semantic_mix'", "greater or equal to 0 and smaller or equal to 1, got 1.5"),
        ({"background_value": 1.0}, "'background_value'", "greater than 0 and smaller than 1, got 1.0"),
        ({"background_fraction": 0.0}, "'background_fraction'", "greater than 0 and smaller or equal to 1, got 0.0"),
        ({"spatial_window": 4}, "'spatial_window'", "odd and at least 1, got 4"),
        ({"attention_heads": 0}, "'attention_heads'", "greater or equal to 1, got 0"),
        ({"feature_layers": [1, 5]}, r"\[1, 5\]", "from 1 to 4"),
        ({"feature_layers": [2, 1]}, r"\[2, 1\]", "ascending"),
        ({"feature_layers": []}, r"\[\]", "from 1 to 4"),
        ({"num_scale_weights": 2}, "has 3 entries", "each layer needs a weight"),
        ({"image_size": 36}, "`image_size` is 36", "multiple of CLIP's patch size 8, such as 32"),
        ({"prompt_length": 76}, "`prompt_length` is 76", "at most 75"),
        ({"prompt_input_ids": [[12] * 77] * 2}, "the id 12", "0 to 11"),
        ({"prompt_input_ids": [[-1] * 77] * 2}, "the id -1", "0 to 11"),
        ({"prompt_input_ids": [[1] * 76] * 2}, r"\[76, 76\]", "2 rows .* of 77"),
        ({"prompt_input_ids": None}, "the id 49407", "0 to 11; pass ids made with its tokenizer"),
        ({"includes_clip": False}, "`includes_clip` is False", "must name the CLIP"),
        ({"gate_reduction": 33}, "`gate_reduction` is 33", "at most 32"),
        ({"foreground_threshold": float("nan")}, "'foreground_threshold'", "finite, got nan"),
        ({"smoothing_sigma": float("inf")}, "'smoothing_sigma'", "greater or equal to 0, got inf"),
        ({"temperature": "warm"}, "'temperature'", "float"),
    ],
)
def test_a_wrong_field_is_named_with_the_right_values(
    overrides: dict[str, Any], what_is_wrong: str, what_would_be_right: str
) -> None:
    with pytest.raises(StrictDataclassError, match=f"(?s){what_is_wrong}.*{what_would_be_right}"):
        tiny_config(**overrides)
