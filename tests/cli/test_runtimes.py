"""`--runtime`: exported once, then taken from the cache; the same rows."""

import json

import pytest

from conftest import TINY_OVERRIDES, make_tiny_clip
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.cli import runtimes


@pytest.fixture
def model_folder(tmp_path):
    """One feature layer, since the time goes to tracing."""
    model = FBCLIPModel.from_clip(make_tiny_clip(), **(TINY_OVERRIDES | {"feature_layers": [1]}))
    model.save_pretrained(tmp_path / "model")
    FBCLIPProcessor.from_config(model.config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("modeling_fbclip.export.cache.HF_HOME", tmp_path / "cache")
    return tmp_path / "cache" / "fbclip"


def test_the_model_is_exported_once_and_gives_the_same_rows(detect, fbclip, model_folder, cache, save_photograph):
    photograph = save_photograph("photo.png")
    expected = json.loads(detect(photograph, "--format", "json").out)[0]
    first, second = (detect(photograph, "--format", "json", "--runtime", "onnx") for _ in range(2))
    assert "exporting the model for onnx, once" in first.err
    assert "exporting" not in second.err
    (kept,) = cache.iterdir()
    assert FBCLIPModel.from_pretrained(kept).config.runtime == "onnx"
    for outcome in (first, second):
        found = json.loads(outcome.out)[0]
        assert found["score"] == pytest.approx(expected["score"], abs=1e-5)
        assert found["label"] == expected["label"]
    save_photograph("good/0.png")
    outcome = fbclip(
        *("calibrate", "good", "--model", model_folder, "--target-fpr", 0.5, "--output", "calibrated"),
        *("--runtime", "onnx"),
    )
    assert (outcome.status, "exporting" in outcome.err) == (0, False), outcome.err
    assert FBCLIPModel.from_pretrained("calibrated").config.runtime is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cuda"], "--device: onnx computes on the processor"),
        (["--dtype", "bfloat16"], "--dtype: onnx computes in float32"),
    ],
)
def test_options_of_pytorch_alone_are_refused(detect, save_photograph, arguments, message):
    outcome = detect(save_photograph("photo.png"), "--runtime", "onnx", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


def test_a_missing_library_is_named_with_its_extra(detect, save_photograph, monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda _: None)
    outcome = detect(save_photograph("photo.png"), "--runtime", "openvino")
    assert outcome.status == 2
    assert "pip install 'modeling-fbclip[openvino]'" in outcome.err


def test_a_slow_run_names_the_faster_runtime_last(detect, save_photograph, monkeypatch):
    photograph = save_photograph("photo.png")
    assert "--runtime" not in detect(photograph).err
    monkeypatch.setattr(runtimes, "SLOW_SECONDS", 0)
    assert detect(photograph).err.splitlines()[-1].startswith("--runtime openvino is faster on this processor")
