"""The JSON files of models that visitors name are checked before anything else of them is read."""

import json
import shutil
from pathlib import Path

import pytest
from modeling_fbclip.demo import model_limits
from modeling_fbclip.demo.model_limits import check_json, check_settings

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPConfig, FBCLIPProcessor
from modeling_fbclip.detection.loading import BUNDLED

TEXT, VISION = ("clip_config", "text_config"), ("clip_config", "vision_config")
HOSTILE = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


@pytest.fixture
def folder(tmp_path) -> Path:
    for file in BUNDLED.glob("*.json"):
        shutil.copyfile(file, tmp_path / file.name)
    return tmp_path


def change(file: Path, path: tuple[str, ...], value: object) -> None:
    record = json.loads(file.read_text())
    part = record
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    file.write_text(json.dumps(record))


def test_the_bundled_model_keeps_to_the_limits(folder):
    check_json(folder, "fbclip")
    check_settings(FBCLIPConfig.from_pretrained(folder), FBCLIPProcessor.from_pretrained(folder))


@pytest.mark.parametrize(
    ("file", "path", "value", "said"),
    [
        ("config.json", ("model_type",), "bert", "config.json is of 'bert', not of 'fbclip'"),
        ("config.json", ("model_type",), "<b>", "config.json is of '<b>', not of 'fbclip'"),
        ("config.json", ("image_size",), 8000, "image_size is 8000; at most 1024 fit here"),
        ("config.json", ("attention_heads",), 10**9, "attention_heads is 1000000000; at most 64"),
        ("config.json", ("spatial_window",), 9999, "spatial_window is 9999; at most 31"),
        ("config.json", ("smoothing_sigma",), float("inf"), "smoothing_sigma is inf"),
        ("config.json", ("temperature",), float("nan"), "temperature is nan"),
        ("config.json", (*VISION, "num_hidden_layers"), 10_000, "num_hidden_layers is 10000"),
        ("config.json", (*VISION, "hidden_size"), 2**20, "hidden_size is 1048576"),
        ("config.json", (*TEXT, "vocab_size"), 10**10, "vocab_size is 10000000000"),
        ("config.json", (*TEXT, "max_position_embeddings"), 5000, "max_position_embeddings is 5000"),
        ("config.json", ("feature_layers",), [1] * 1000, "feature_layers has 1000 items"),
        ("processor_config.json", ("image_processor", "size", "height"), 10**6, "height is 1000000"),
        ("processor_config.json", ("prompt_length",), 10**7, "prompt_length is 10000000"),
        ("tokenizer.json", ("pre_tokenizer",), HOSTILE, "tokenizer.json has patterns of its own"),
        ("tokenizer.json", ("normalizer",), {"type": "Sequence", "normalizers": [HOSTILE]}, "patterns of its own"),
    ],
)
def test_numbers_and_patterns_beyond_the_limits_are_refused(folder, file, path, value, said):
    change(folder / file, path, value)
    with pytest.raises(ValueError, match=said) as caught:
        check_json(folder, "fbclip")
    assert str(folder) not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", None, "it has no config.json"),
        ("config.json", "[" * 100_000, "config.json is not readable as JSON"),
        ("config.json", "[1]", "config.json holds no JSON object"),
        ("processor_config.json", None, "it has no processor_config.json"),
        ("processor_config.json", "{", "processor_config.json is not readable as JSON"),
        ("other.json", "12345678901", "other.json has more than"),
    ],
)
def test_files_that_are_missing_damaged_or_large_are_refused(folder, monkeypatch, file, content, said):
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    if file == "other.json":
        largest = max(path.stat().st_size for path in folder.iterdir() if path.name != file)
        (folder / file).write_text(" " * (largest + 1))
        monkeypatch.setattr(model_limits, "MAX_JSON_BYTES", largest)
    with pytest.raises(ValueError, match=said):
        check_json(folder, "fbclip")


def test_the_processor_must_be_that_of_the_model():
    config = make_tiny_model().config
    fitting = FBCLIPProcessor.from_config(config)
    check_settings(config, fitting)
    for settings, said in (
        ({"image_size": 1032}, "its input has 1032 by 1032 pixels; at most 1024"),
        ({"image_size": 1000}, "has more than 6000 patches"),
        ({"image_size": 33}, "no whole patches of 8"),
        ({"smoothing_sigma": 33}, "smoothing_sigma is larger than its image of 32 pixels"),
        ({"prompt_length": 5}, "prompts of 5 in 77 positions, the model of 4 in 77"),
        ({"context_length": 50}, "prompts of 4 in 50 positions"),
    ):
        given = {"image_size": 32, "prompt_length": 4} | settings
        with pytest.raises(ValueError, match=said):
            check_settings(config, FBCLIPProcessor(**given))
