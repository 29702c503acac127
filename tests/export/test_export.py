"""Exports compute what the model computes, at every batch and size, in a folder that stands alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir
import pytest
import torch
from PIL import Image
from transformers import pipeline

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.detection.rendering import render_overlay
from modeling_fbclip.export import OutOfBoundsError, export, folder, parity
from modeling_fbclip.runtime_fbclip import FBCLIPRuntimeModel

RUNTIMES = ("onnx", "openvino")
PRECISIONS = ("float32", "float16", "int8")
FILES = {"LICENSE", "README.md", "config.json", "inference.py", "parity.json", "processor_config.json"}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("to", RUNTIMES)
@torch.no_grad()
def test_scores_and_maps_are_the_models_at_any_batch_and_size(make_export, to, precision) -> None:
    exported = make_export(to, precision)
    model = FBCLIPModel.from_pretrained(exported.folder)
    assert isinstance(model, FBCLIPRuntimeModel)
    bound = {"float32": 1e-5, "float16": 1e-2, "int8": 0.1}[precision]
    for shape in ((1, 3, 32, 32), (3, 3, 16, 64), (2, 3, 40, 24)):
        pixels = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        found, expected = model(pixels), exported.model(pixels)
        for name in ("image_scores", "anomaly_maps"):
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=bound)
            if precision == "float32":
                assert found[name].dtype is torch.float32


@pytest.mark.parametrize("to", RUNTIMES)
def test_the_report_tells_how_far_the_export_is(make_export, to) -> None:
    exported = make_export(to)
    report = json.loads((exported.folder / "parity.json").read_text())
    assert report == json.loads(json.dumps(exported.parity.to_dict()))
    assert report["within_bounds"]
    assert (report["images"], report["sizes"]) == (3, [[32, 32], [24, 16]])
    assert report["scores"]["mean"] <= report["scores"]["largest"] < 1e-4
    assert report["maps"]["largest"] < 1e-4
    assert report["map_correlation"] == pytest.approx(1, abs=1e-5)
    assert report["changed_decisions"] == 0
    assert set(report["seconds"]) == {"torch", to}
    assert "of 3" in (exported.folder / "README.md").read_text()


def test_smaller_weights_make_smaller_files(make_export) -> None:
    for to, name in (("onnx", "model.onnx"), ("openvino", "openvino_model.bin")):
        sizes = [(make_export(to, precision).folder / name).stat().st_size for precision in PRECISIONS]
        assert sizes == sorted(sizes, reverse=True), to
        assert len(set(sizes)) == 3, to


def test_the_graph_has_few_nodes_and_nothing_of_this_machine(make_export) -> None:
    graph = onnx_ir.load(make_export().folder / "model.onnx")
    assert [value.name for value in graph.graph.inputs] == ["pixel_values"]
    assert [value.name for value in graph.graph.outputs] == ["image_scores", "anomaly_maps"]
    # Of a single layer. Another one adds those of CLIP's block and of the attention, not of the views.
    assert sum(1 for _ in graph.graph) < 550
    content = (make_export().folder / "model.onnx").read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b".py" not in content


@pytest.mark.parametrize("to", RUNTIMES)
def test_the_folder_works_without_pytorch(make_export, run_alone, to, tmp_path) -> None:
    exported = make_export(to)
    assert {path.name for path in exported.folder.iterdir()} >= FILES
    assert len((exported.folder / "inference.py").read_text().splitlines()) <= 200
    expected = load_detector(str(exported.folder))
    photographs = []
    for index, image in enumerate(exported.images):
        photographs.append(tmp_path / f"photo {index}.png")
        image.resize((50 + index, 61)).save(photographs[-1])
    done = run_alone(exported.folder, *photographs, tmp_path / "missing.png", "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    *rows, missing = json.loads(done.stdout)
    assert missing["error"].startswith("[Errno 2]")
    for row, photograph in zip(rows, photographs, strict=True):
        picture = Image.open(photograph)
        result = expected(picture)
        assert (row["path"], row["label"], row["error"]) == (str(photograph), result["label"], None)
        assert row["score"] == pytest.approx(result["score"], abs=1e-5)
        assert [region["box"] for region in row["regions"]] == [region["box"] for region in result["regions"]]
        own_map = np.asarray(Image.open(tmp_path / row["map"])) / 65535
        np.testing.assert_allclose(own_map, result["anomaly_map"].numpy(), rtol=0, atol=3e-5)
        own = np.asarray(Image.open(tmp_path / row["overlay"]), dtype=int)
        overlay = np.asarray(render_overlay(picture, result["anomaly_map"], result["mask"]), dtype=int)
        assert (np.abs(own - overlay).max(axis=-1) > 2).mean() < 0.001


@pytest.mark.parametrize(
    "settings",
    [
        {"tile": "auto"},
        {"tile": 40, "overlap": 11, "score": "map_max"},
        {"tile": 40, "keep_aspect": True, "score": "map_top1"},
        {"keep_aspect": True, "min_area": 30},
        {"smoothing_sigma": 0.0},
    ],
    ids=str,
)
def test_the_script_follows_every_setting_of_the_processor(own_copy, settings) -> None:
    processor = FBCLIPProcessor.from_pretrained(own_copy.folder)
    for name, value in ({"pixel_threshold": 0.5} | settings).items():
        setattr(processor, name, value)
    processor.to_json_file(own_copy.folder / "processor_config.json")
    picture = own_copy.images[0].resize((90, 70), Image.Resampling.NEAREST)
    expected = load_detector(str(own_copy.folder))(picture)
    script: dict = {}
    exec((own_copy.folder / "inference.py").read_text(), script)
    found = script["Model"](own_copy.folder)(picture)
    assert found["score"] == pytest.approx(expected["score"], abs=1e-5)
    np.testing.assert_allclose(found["anomaly_map"], expected["anomaly_map"].numpy(), rtol=0, atol=1e-5)
    assert (found["mask"] != expected["mask"].numpy()).mean() < 0.001
    assert len(found["regions"]) == len(expected["regions"])


def test_prompts_are_folded_in(tiny, make_export, tmp_path, monkeypatch) -> None:
    exported = make_export()
    ids = tiny.prompt_input_ids.clone()
    ids[:, -8:-5] = torch.tensor([[5, 6, 7], [8, 9, 10]])
    monkeypatch.setattr(FBCLIPProcessor, "encode_prompts", lambda self, *prompts: ids)  # noqa: ARG005
    export(tiny, exported.processor, tmp_path / "other", prompts=("good", "bad"), images=exported.images[:1])
    model = FBCLIPModel.from_pretrained(tmp_path / "other")
    pixels = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        expected = tiny(pixels, prompt_input_ids=ids).anomaly_maps
        torch.testing.assert_close(model(pixels).anomaly_maps, expected, rtol=0, atol=1e-5)
    assert (expected - tiny(pixels).anomaly_maps).abs().max() > 1e-3
    model(pixels, prompt_input_ids=ids)
    with pytest.raises(ValueError, match="exported with its prompts"):
        model(pixels, prompt_input_ids=tiny.prompt_input_ids)


def test_a_pipeline_takes_the_folder(make_export) -> None:
    exported = make_export()
    detect = pipeline("zero-shot-anomaly-detection", model=str(exported.folder))
    expected = pipeline("zero-shot-anomaly-detection", model=exported.model, processor=exported.processor)
    for found, result in zip(detect(exported.images, batch_size=2), expected(exported.images), strict=True):
        assert found["score"] == pytest.approx(result["score"], abs=1e-5)
        torch.testing.assert_close(found["anomaly_map"], result["anomaly_map"], rtol=0, atol=1e-5)


def test_an_export_out_of_its_bounds_is_not_kept(make_export, tmp_path, monkeypatch) -> None:
    exported = make_export()
    monkeypatch.setattr(folder, "trace", lambda *_: onnx_ir.load(exported.folder / "model.onnx"))
    monkeypatch.setitem(parity.LARGEST_DIFFERENCE, "float32", 0)
    arguments = (exported.model, exported.processor, tmp_path / "far")
    with pytest.raises(OutOfBoundsError, match=r"^not kept: .* differ by up to .*, above 0") as caught:
        export(*arguments, images=exported.images)
    assert caught.value.parity.images == 3
    assert list(tmp_path.iterdir()) == []
    assert export(*arguments, images=exported.images, force=True).violations
    assert not json.loads((tmp_path / "far" / "parity.json").read_text())["within_bounds"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"to": "tensorrt"}, "'tensorrt', but must be one of 'onnx', 'openvino'"),
        ({"precision": "int4"}, "'int4', but must be one of"),
        ({"images": []}, "no image to compare on"),
        ({"output": Path(__file__).parent}, "is not empty"),
        ({"prompts": ("good", "bad")}, "no tokenizer"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(tiny, tmp_path, changed, message) -> None:
    arguments = {"output": tmp_path / "out"} | changed
    with pytest.raises(ValueError, match=message):
        export(tiny, FBCLIPProcessor.from_config(tiny.config), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_thresholds_of_references_are_not_those_of_an_export_without(tiny, make_export, tmp_path, monkeypatch) -> None:
    exported = make_export()
    processor = FBCLIPProcessor.from_config(tiny.config)
    processor.set_thresholds(0.9, 0.8, processor.mode((32, 32)), with_references=True)
    monkeypatch.setattr(folder, "trace", lambda *_: onnx_ir.load(exported.folder / "model.onnx"))
    export(tiny, processor, tmp_path / "exported", images=exported.images)
    settings = json.loads((tmp_path / "exported" / "processor_config.json").read_text())
    assert (settings["threshold"], settings["pixel_threshold"]) == (0.5, 0.5)


def test_what_an_export_lacks_is_said_in_one_line(make_export, own_copy) -> None:
    model = FBCLIPModel.from_pretrained(make_export().folder)
    with pytest.raises(ValueError, match="gives no tokens of patches"):
        model(torch.zeros(1, 3, 32, 32), output_hidden_states=True)
    with pytest.raises(ValueError, match="2 patches or more a side"):
        model(torch.zeros(1, 3, 8, 32))
    with pytest.raises(ValueError, match="multiples of the patch size 8"):
        model(torch.zeros(1, 3, 33, 32))
    with pytest.raises(ValueError, match="exported already"):
        export(model, make_export().processor, own_copy.folder / "again")
    with pytest.raises(ValueError, match="leave it at float32"):
        FBCLIPModel.from_pretrained(own_copy.folder, dtype=torch.bfloat16)
    (own_copy.folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match="cannot be loaded by onnxruntime"):
        FBCLIPModel.from_pretrained(own_copy.folder)
    (own_copy.folder / "model.onnx").unlink()
    with pytest.raises(OSError, match=r"model\.onnx"):
        FBCLIPModel.from_pretrained(own_copy.folder)


DROPPED = """
import gc, signal, subprocess, sys, threading
from modeling_fbclip import FBCLIPModel
signal.signal(signal.SIGCHLD, lambda *_: None)
models = [FBCLIPModel.from_pretrained(sys.argv[1])]
other = threading.Thread(target=lambda: (models.clear(), gc.collect()))
other.start()
other.join()
subprocess.run(["true"], check=True)
print("alive")
"""


def test_signals_are_handled_after_a_thread_has_dropped_an_openvino_model(make_export) -> None:
    command = [sys.executable, "-c", DROPPED, str(make_export("openvino").folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n")
