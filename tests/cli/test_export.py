"""`fbclip export`: the folder that it writes is a model for the other commands."""

import json

import onnx_ir
import pytest

from conftest import TINY_OVERRIDES, make_tiny_clip
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.export import folder


@pytest.fixture
def model_folder(tmp_path):
    """One feature layer, since the time goes to tracing."""
    model = FBCLIPModel.from_clip(make_tiny_clip(), **(TINY_OVERRIDES | {"feature_layers": [1]}))
    model.save_pretrained(tmp_path / "model")
    FBCLIPProcessor.from_config(model.config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def exported(fbclip, model_folder, tmp_path, save_photograph):
    """The tiny model, exported by the command."""
    photograph = save_photograph(tmp_path / "photos" / "photo.png")
    return fbclip("export", model_folder, "--images", photograph, "--output", tmp_path / "exported")


def test_an_export_detects_as_its_model_does(exported, fbclip, model_folder, tmp_path, monkeypatch, save_photograph):
    monkeypatch.chdir(tmp_path)
    assert exported.status == 0
    assert "correlation of maps" in exported.out
    assert exported.err.splitlines()[-1] == (
        f"onnx in float32, in {tmp_path}/exported: python {tmp_path}/exported/inference.py photo.jpg"
    )
    photograph = save_photograph("photo.png", seed=3)
    rows = []
    for model in (model_folder, tmp_path / "exported"):
        outcome = fbclip("detect", photograph, "--model", model, "--format", "json")
        assert outcome.status == 0, outcome.err
        rows.append(json.loads(outcome.out)[0])
    assert rows[1]["score"] == pytest.approx(rows[0]["score"], abs=1e-5)
    assert rows[1]["label"] == rows[0]["label"]
    good = [save_photograph(f"good/{index}.png", seed=index) for index in range(3)]
    taken = ["--model", tmp_path / "exported", "--output", tmp_path / "calibrated"]
    calibrated = fbclip("calibrate", "good", "--target-fpr", 0.5, *taken)
    assert calibrated.status == 0, calibrated.err
    own = FBCLIPProcessor.from_pretrained(tmp_path / "calibrated")
    assert own.threshold != FBCLIPProcessor.from_pretrained(tmp_path / "exported").threshold
    assert FBCLIPModel.from_pretrained(tmp_path / "calibrated").config.runtime == "onnx"
    for name, arguments in {
        "remember": [*good, "--output", tmp_path / "with-references"],
        "detect": [photograph, "--references", "good"],
        "train": ["good", "--synthetic", "--output", tmp_path / "trained"],
        "export": ["--output", tmp_path / "again"],
    }.items():
        model = [tmp_path / "exported"] if name == "export" else ["--model", tmp_path / "exported"]
        outcome = fbclip(name, *arguments, *model)
        assert outcome.status == 2, (name, outcome)
        assert len(outcome.err.splitlines()) == 1, outcome.err
        assert "export" in outcome.err
        assert "Traceback" not in outcome.err


def test_a_model_that_remembers_detects_alike_when_it_is_exported(
    fbclip, model_folder, tmp_path, monkeypatch, save_photograph
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("modeling_fbclip.export.cache.HF_HOME", tmp_path / "cache")
    traced = []

    def trace_once(*arguments):
        if not traced:
            onnx_ir.save(trace(*arguments), tmp_path / "traced.onnx")
        traced.append(arguments)
        return onnx_ir.load(tmp_path / "traced.onnx")

    trace = folder.trace
    monkeypatch.setattr(folder, "trace", trace_once)
    good = [save_photograph(f"good/{index}.png", seed=index) for index in range(3)]
    photographs = [save_photograph(f"photos/{index}.png", seed=index) for index in (3, 4)]
    remembers = fbclip("remember", *good, "--model", model_folder, "--output", "remembers")
    assert remembers.status == 0, remembers.err
    outcome = fbclip("export", "remembers", "--images", photographs[0], "--output", "exported")
    assert outcome.status == 0, outcome.err
    by_model = fbclip("detect", *photographs, "--model", "remembers", "--format", "json")
    for arguments in (["--model", "exported"], ["--model", "remembers", "--runtime", "onnx"]):
        outcome = fbclip("detect", *photographs, *arguments, "--format", "json")
        assert outcome.status == 0, outcome.err
        for row, expected in zip(json.loads(outcome.out), json.loads(by_model.out), strict=True):
            assert row["score"] == pytest.approx(expected["score"], abs=1e-4)
            assert row["label"] == expected["label"]
            assert [area["box"] for area in row["regions"]] == [area["box"] for area in expected["regions"]]
    assert len(traced) == 2
    by_texts = fbclip("detect", *photographs, "--model", model_folder, "--format", "json")
    assert json.loads(by_texts.out)[0]["score"] != pytest.approx(json.loads(by_model.out)[0]["score"], abs=1e-2)
    taken = ["--model", "exported", "--target-fpr", 0.5, "--output", "calibrated"]
    assert fbclip("calibrate", "good", *taken).status == 0
    assert fbclip("detect", *photographs, "--model", "calibrated").status == 0
    assert FBCLIPProcessor.from_pretrained("calibrated").thresholds_with_references
    for name, arguments in {
        "remember": [*photographs, "--output", "exported", "--add"],
        "detect": [*photographs, "--model", "exported", "--references", "good"],
    }.items():
        outcome = fbclip(name, *arguments)
        assert outcome.status == 2, (name, outcome)
        assert len(outcome.err.splitlines()) == 1, outcome.err
        assert "export" in outcome.err


def test_mistakes_are_one_line_and_leave_nothing(fbclip, model_folder, tmp_path):
    for arguments, message in (
        (["--prompts", "good", "bad"], "tokenizer"),
        (["--images", tmp_path / "none"], "no such file or folder"),
    ):
        outcome = fbclip("export", model_folder, "--output", tmp_path / "exported", *arguments)
        assert (outcome.status, outcome.out) == (2, "")
        assert message in outcome.err
        assert len(outcome.err.splitlines()) == 1
        assert not (tmp_path / "exported").exists()
