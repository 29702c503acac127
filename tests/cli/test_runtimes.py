"""`--runtime`: exported once, then taken from the cache."""

import json

import pytest
from onnx import TensorProto, helper, save

from modeling_fbclip import FBCLIPModel
from modeling_fbclip.cli import runtimes


@pytest.fixture(autouse=True)
def exports(tmp_path, monkeypatch):
    """The exports that are made. Each is a graph that calls every image anomalous by 0.75."""

    def export(model, processor, folder, runtime, **_):
        made.append(runtime)
        config = FBCLIPModel.config_class.from_dict(model.config.to_dict())
        config.runtime, config.precision = runtime, "float32"
        folder.mkdir(parents=True)
        config.to_json_file(folder / "config.json")
        processor.to_json_file(folder / "processor_config.json")
        pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, "height", "width"])
        scores = helper.make_tensor_value_info("image_scores", TensorProto.FLOAT, None)
        maps = helper.make_tensor_value_info("anomaly_maps", TensorProto.FLOAT, None)
        quarter = helper.make_node("Constant", [], ["value"], value_float=0.75)
        nodes = [
            quarter,
            helper.make_node("MaxPool", ["pixel_values"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
            helper.make_node("ReduceMax", ["pooled", "channel"], ["flat"], keepdims=0),
            helper.make_node("Sub", ["flat", "flat"], ["zero"]),
            helper.make_node("Add", ["zero", "value"], ["anomaly_maps"]),
            helper.make_node("ReduceMax", ["anomaly_maps", "sides"], ["image_scores"], keepdims=0),
        ]
        axes = [helper.make_tensor("channel", TensorProto.INT64, [1], [1])]
        axes.append(helper.make_tensor("sides", TensorProto.INT64, [2], [1, 2]))
        graph = helper.make_graph(nodes, "constant", [pixels], [scores, maps], axes)
        opset = helper.make_opsetid("", 20)
        save(helper.make_model(graph, opset_imports=[opset], ir_version=10), folder / "model.onnx")

    made: list[str] = []
    monkeypatch.setattr("modeling_fbclip.export.cache.HF_HOME", tmp_path / "cache")
    monkeypatch.setattr("modeling_fbclip.export.cache.export", export)
    return made


def test_the_model_is_exported_once_and_computed_from_then_on(detect, fbclip, model_folder, exports, save_photograph):
    photograph = save_photograph("photo.png")
    first, second = (detect(photograph, "--format", "json", "--runtime", "onnx") for _ in range(2))
    assert "exporting the model for onnx, once" in first.err
    assert "exporting" not in second.err
    assert exports == ["onnx"]
    for outcome in (first, second):
        assert json.loads(outcome.out)[0]["score"] == pytest.approx(0.75)
    save_photograph("good/0.png")
    arguments = ("good", "--model", model_folder, "--target-fpr", 0.5, "--output", "calibrated", "--runtime", "onnx")
    outcome = fbclip("calibrate", *arguments)
    assert outcome.status == 0, outcome.err
    assert exports == ["onnx"]
    assert FBCLIPModel.from_pretrained("calibrated").config.runtime is None  # the model, with other thresholds


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
