"""Exports with references compute what the model computes with them."""

import json

import onnx_ir
import pytest
import torch
from PIL import Image
from transformers import pipeline

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.export import export

RUNTIMES = ("onnx", "openvino")
NAMES = ("image_scores", "anomaly_maps", "reference_scores", "reference_maps")


@pytest.mark.parametrize("to", RUNTIMES)
@torch.no_grad()
def test_one_graph_serves_all_views_and_any_number_of_references(make_export, to) -> None:
    exported = make_export(to, with_references=True, tile=40)
    assert [view.grid for view in exported.references.views] == [(3, 4), (4, 4), (4, 4)]
    model = FBCLIPModel.from_pretrained(exported.folder)
    fewer = FBCLIPReferences.from_images(exported.model, exported.processor, exported.images[:1], reach=1.0)
    for references in (exported.references, fewer, FBCLIPReferences.from_pretrained(exported.folder)):
        for size, places in (((24, 32), [0]), ((32, 32), [2, 1, 1, 2, 1])):
            pixels = torch.randn((len(places), 3, *size), generator=torch.Generator().manual_seed(0))
            found = model(pixels, references=references.at(places))
            expected = exported.model(pixels, references=references.at(places))
            for name in NAMES:
                torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-4)
            assert (expected.anomaly_maps - exported.model(pixels).anomaly_maps).abs().max() > 0.1
    view = exported.references.views[1]
    at_once = model._run(pixels.numpy(), *view.arrays)
    expected = exported.model(pixels, references=exported.references.at([1] * 5))
    for name, found in zip(NAMES, at_once, strict=True):
        torch.testing.assert_close(torch.from_numpy(found), expected[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_smaller_weights_stay_near(make_export, precision) -> None:
    report = make_export("onnx", precision, with_references=True).parity
    assert report.violations == []
    assert report.maps.largest > 1e-5


def test_the_report_is_about_the_joint_numbers(make_export) -> None:
    exported = make_export(with_references=True, tile=40)
    assert exported.parity.sizes == [(24, 32), (32, 32)]
    assert exported.parity.maps.largest < 1e-4
    graph = onnx_ir.load(exported.folder / "model.onnx").graph
    assert [value.name for value in graph.inputs] == ["pixel_values", "references", "reference_scale"]
    assert [value.name for value in graph.outputs] == list(NAMES)
    assert "reference_scale" in (exported.folder / "README.md").read_text()
    assert "reference_scale" not in (make_export().folder / "README.md").read_text()


@pytest.mark.parametrize(("to", "tile"), [("onnx", None), ("onnx", 40), ("openvino", 40)])
def test_script_detector_and_pipeline_compare(make_export, run_alone, tmp_path, to, tile) -> None:
    exported = make_export(to, with_references=True, tile=tile)
    assert exported.processor.score == "map_max"  # which gives way to the joint score
    detector = load_detector(str(exported.folder))
    expected = Detector(exported.model, exported.processor, references=exported.references)
    detect = pipeline("zero-shot-anomaly-detection", model=str(exported.folder))
    photograph = tmp_path / "photo.png"
    exported.images[0].save(photograph)
    done = run_alone(exported.folder, photograph, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)
    result = expected(Image.open(photograph))
    for found in (row, detector(Image.open(photograph)), detect(str(photograph))):
        assert found["score"] == pytest.approx(result["score"], abs=1e-4)
        assert found["label"] == result["label"]
        assert [region["box"] for region in found["regions"]] == [region["box"] for region in result["regions"]]


def test_an_image_of_another_shape_is_named_by_the_script(make_export, run_alone, tmp_path) -> None:
    exported = make_export(with_references=True, tile=40)
    exported.images[0].resize((90, 40)).save(tmp_path / "wide.png")
    done = run_alone(exported.folder, "wide.png")
    assert (done.returncode, done.stderr) == (1, "")
    assert "its views are not those of the references" in done.stdout


def test_thresholds_without_references_give_way_to_the_border(tiny, make_export, tmp_path, monkeypatch) -> None:
    exported = make_export(with_references=True)
    graph = exported.folder / "model.onnx"
    monkeypatch.setattr("modeling_fbclip.export.folder.trace", lambda *_: onnx_ir.load(graph))
    for with_references, expected in ((False, 0.5), (True, 0.9)):
        processor = FBCLIPProcessor.from_config(tiny.config)
        processor.set_thresholds(0.9, 0.8, processor.mode((32, 32)), with_references)
        target = tmp_path / str(with_references)
        export(tiny, processor, target, images=exported.images[:1], references=exported.references)
        settings = json.loads((target / "processor_config.json").read_text())
        assert (settings["threshold"], settings["thresholds_with_references"]) == (expected, True)


def test_what_does_not_fit_is_said_in_one_line(tiny, make_export, tmp_path) -> None:
    exported = make_export(with_references=True)
    model = FBCLIPModel.from_pretrained(exported.folder)
    pixels = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match="exported with references; pass `references`"):
        model(pixels)
    with pytest.raises(ValueError, match=r"grid of \(4, 4\) patches, but the images \(3, 4\)"):
        model(pixels[:, :, :24], references=exported.references)
    with pytest.raises(ValueError, match="exported without references"):
        FBCLIPModel.from_pretrained(make_export().folder)(pixels, references=exported.references)
    mutual = FBCLIPReferences.from_images(
        tiny, exported.processor, exported.images * 3, [str(index) for index in range(9)], mutual=True
    )
    with pytest.raises(ValueError, match="judge one another need PyTorch"):
        model(pixels, references=mutual)
    arguments = (tiny, exported.processor, tmp_path / "out")
    with pytest.raises(ValueError, match="judge one another need PyTorch"):
        export(*arguments, references=mutual)
    with pytest.raises(ValueError, match="do not go with references"):
        export(*arguments, references=exported.references, prompts=("good", "bad"))
    assert not (tmp_path / "out").exists()
