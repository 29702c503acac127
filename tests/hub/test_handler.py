"""The handler of an Inference Endpoint answers from a staged folder, and opens no path or address of a client."""

import base64
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from modeling_fbclip.hub import stage_model
from PIL import Image

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, ZeroShotAnomalyDetectionPipeline
from modeling_fbclip.detection.loading import BUNDLED, load_bundled


@pytest.fixture(scope="module")
def staged(model_dir, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("endpoint") / "repository"
    stage_model(model_dir, folder, "owner/name")
    return folder


@pytest.fixture(scope="module")
def module(staged):
    """`handler.py` of the folder, imported as an Endpoint imports it."""
    spec = importlib.util.spec_from_file_location("handler", staged / "handler.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def handler(module, staged):
    return module.EndpointHandler(str(staged))


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def mask_of(answer: dict) -> np.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(answer["mask"])))
    assert (picture.format, picture.mode) == ("PNG", "1")
    return np.asarray(picture)


def test_the_answer_is_the_same_as_the_pipelines(handler, model_dir, synthetic_image) -> None:
    detect = ZeroShotAnomalyDetectionPipeline(
        model=FBCLIPModel.from_pretrained(model_dir), processor=FBCLIPProcessor.from_pretrained(model_dir)
    )
    wanted = detect(synthetic_image)
    answer = handler({"inputs": encoded(synthetic_image)})
    assert (answer["score"], answer["label"]) == (wanted["score"], wanted["label"])
    assert (answer["width"], answer["height"]) == synthetic_image.size
    values = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["anomaly_map"])))) / 65535
    np.testing.assert_allclose(values, wanted["anomaly_map"], atol=1e-5)
    np.testing.assert_array_equal(mask_of(answer), wanted["mask"])


def test_every_form_of_an_image_gives_the_same_answer(handler, synthetic_image) -> None:
    text = encoded(synthetic_image)
    wanted = handler({"inputs": text})
    for inputs in (f"data:image/png;base64,{text}", base64.b64decode(text), synthetic_image):
        assert handler({"inputs": inputs}) == wanted
    assert handler({"inputs": [text, text]}) == [wanted, wanted]


def test_parameters_set_thresholds(handler, synthetic_image) -> None:
    text = encoded(synthetic_image)
    labels = [handler({"inputs": text, "parameters": {"threshold": value}})["label"] for value in (0.0, 1.0)]
    assert labels == ["anomalous", "normal"]
    masks = [mask_of(handler({"inputs": text, "parameters": {"pixel_threshold": value}})) for value in (0, 1)]
    assert masks[0].all()
    assert not masks[1].any()
    wanted = handler({"inputs": text})
    assert (
        handler({"inputs": text, "parameters": dict.fromkeys(("threshold", "pixel_threshold", "prompts"))}) == wanted
    )


def test_prompts_change_the_answer_as_in_the_pipeline(module, handler, synthetic_image, tmp_path) -> None:
    stage_model(BUNDLED, tmp_path / "bundled", "owner/name")
    with_tokenizer = module.EndpointHandler(str(tmp_path / "bundled"))
    model, processor = load_bundled()
    detect = ZeroShotAnomalyDetectionPipeline(model=model, processor=processor, device="cpu")
    request = {"inputs": encoded(synthetic_image)}
    prompts = ["object with defect.", "object without defect."]
    score = with_tokenizer(request | {"parameters": {"prompts": prompts}})["score"]
    assert score == detect(synthetic_image, prompts=prompts)["score"]
    assert score != with_tokenizer(request)["score"]
    with pytest.raises(ValueError, match="has no tokenizer"):
        handler(request | {"parameters": {"prompts": prompts}})


@pytest.mark.parametrize(
    ("request_data", "said"),
    [
        ({}, "NoneType is not an image"),
        ({"inputs": "/etc/passwd"}, "paths and addresses are not opened"),
        ({"inputs": "https://example.org/a.png"}, "paths and addresses are not opened"),
        ({"inputs": "abcd"}, "not an image; send one of BMP, JPEG"),
        ({"inputs": []}, "0 images; send 1 to 16"),
        ({"inputs": ["abcd"] * 17}, "17 images; send 1 to 16"),
        (
            {"inputs": "abcd", "parameters": {"path": "x"}},
            "must be an object with threshold, pixel_threshold, prompts, references, tile, keep_aspect, min_area only",
        ),
        ({"inputs": "abcd", "parameters": 3}, "parameters: must be an object"),
        ({"inputs": {"image": "abcd"}}, "dict is not an image"),
        ([], "the request must be an object"),
        ({"inputs": "abcd", "parameters": {"keep_aspect": 1}}, "keep_aspect must be true or false"),
        ({"inputs": "abcd", "options": {}}, "the request has options; it may have inputs and parameters only"),
        ({"inputs": "abcd", "parameters": {"references": "good"}}, "references must be a list of good images"),
        ({"inputs": "abcd", "parameters": {"references": [], "prompts": ["a", "b"]}}, "leave one of the two out"),
        (["abcd"], "the request must be an object"),
        *(
            ({"inputs": "abcd", "parameters": {name: value}}, f"parameters: {name} must be a number from 0 to 1")
            for name in ("threshold", "pixel_threshold")
            for value in ("x", [1], True, 1.5, float("nan"))
        ),
        *(
            ({"inputs": "abcd", "parameters": {"prompts": value}}, "parameters: prompts must be two texts")
            for value in (3, "ab", ["a"], ["a", 3], ["a", "b", "c"], {"a": "b", "c": "d"})
        ),
    ],
)
def test_wrong_requests_are_refused(handler, request_data, said) -> None:
    with pytest.raises(ValueError, match=said):
        handler(request_data)


def test_a_path_on_the_server_is_refused(handler, synthetic_image, tmp_path) -> None:
    synthetic_image.save(tmp_path / "photo.png")
    with pytest.raises(ValueError, match="paths and addresses are not opened"):
        handler({"inputs": str(tmp_path / "photo.png")})


def test_too_large_an_image_is_refused_before_it_is_decoded(handler, module, monkeypatch, synthetic_image) -> None:
    text = encoded(synthetic_image)
    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="48 by 40 pixels; at most 100"):
        handler({"inputs": text})
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="at most 10 are allowed"):
        handler({"inputs": text})


def test_references_change_the_answer_as_in_the_pipeline(handler, model_dir, synthetic_image) -> None:
    detect = ZeroShotAnomalyDetectionPipeline(
        model=FBCLIPModel.from_pretrained(model_dir), processor=FBCLIPProcessor.from_pretrained(model_dir)
    )
    good = [synthetic_image.rotate(90 * turn, expand=True) for turn in range(2)]
    request = {"inputs": encoded(synthetic_image), "parameters": {"references": [encoded(image) for image in good]}}
    answer = handler(request)
    wanted = detect(synthetic_image, references=good)
    assert (answer["score"], answer["label"]) == (pytest.approx(wanted["score"], abs=1e-6), wanted["label"])
    assert answer["score"] != handler({"inputs": encoded(synthetic_image)})["score"]
    with pytest.raises(ValueError, match="references: 0 images; send 1 to 16"):
        handler({"inputs": encoded(synthetic_image), "parameters": {"references": []}})
    with pytest.raises(ValueError, match="references: the text is not base64"):
        handler({"inputs": encoded(synthetic_image), "parameters": {"references": ["https://example.org/a.png"]}})


def test_images_judge_one_another(handler, synthetic_image) -> None:
    images = [encoded(synthetic_image.crop((index, index, index + 32, index + 32))) for index in range(8)]
    answers = handler({"inputs": images, "parameters": {"references": "mutual"}})
    alone = handler({"inputs": images})
    assert len(answers) == 8
    assert [answer["score"] for answer in answers] != [answer["score"] for answer in alone]
    with pytest.raises(ValueError, match="at least 8 images"):
        handler({"inputs": images[:3], "parameters": {"references": "mutual"}})


def test_base64_in_lines_and_bytes_are_read(handler, synthetic_image) -> None:
    file = io.BytesIO()
    synthetic_image.save(file, "PNG")
    wanted = handler({"inputs": encoded(synthetic_image)})
    assert handler({"inputs": base64.encodebytes(file.getvalue()).decode()}) == wanted
    assert handler({"inputs": f"data:image/png;base64,{encoded(synthetic_image)}\r\n"}) == wanted
    assert handler({"inputs": file.getvalue()}) == handler(file.getvalue()) == wanted


def test_tiles_change_the_answer_as_in_the_pipeline(handler, model_dir, synthetic_image) -> None:
    detect = ZeroShotAnomalyDetectionPipeline(
        model=FBCLIPModel.from_pretrained(model_dir), processor=FBCLIPProcessor.from_pretrained(model_dir)
    )
    large = synthetic_image.resize((96, 80))
    parameters = {"tile": 32, "keep_aspect": True, "min_area": 3, "pixel_threshold": 0.4}
    answer = handler({"inputs": encoded(large), "parameters": parameters})
    wanted = detect(large, **parameters)
    assert (answer["score"], answer["regions"]) == (pytest.approx(wanted["score"], abs=1e-6), wanted["regions"])
    assert answer["score"] != handler({"inputs": encoded(large)})["score"]
    with pytest.raises(ValueError, match="`tile` is 'x', but must be a number of pixels"):
        handler({"inputs": encoded(large), "parameters": {"tile": "x"}})


def test_too_many_tiles_and_wrong_ones_are_refused(handler, module, monkeypatch, synthetic_image) -> None:
    monkeypatch.setattr(module, "MAX_VIEWS", 5)
    request = {"inputs": encoded(synthetic_image.resize((400, 400)))}
    with pytest.raises(ValueError, match=r"parameters: tile gives [0-9]+ views in all; at most 5 are allowed"):
        handler(request | {"parameters": {"tile": "auto"}})
    with pytest.raises(ValueError, match="`tile` is 0, but must be a number of pixels"):
        handler(request | {"parameters": {"tile": 0}})
