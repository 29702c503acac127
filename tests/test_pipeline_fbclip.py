"""The pipeline: every kind of input, batches, options, and loading it from a folder."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast, pipeline
from transformers.pipelines.pt_utils import KeyDataset

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, ZeroShotAnomalyDetectionPipeline

TASK = "zero-shot-anomaly-detection"
COMPACT = Path(__file__).parent / "golden" / "compact"
VOCABULARY = {
    word: index for index, word in enumerate(["!", ".", "x", "with", "without", "object", "defect", "<s>", "</s>"])
}


@pytest.fixture(scope="module")
def model() -> FBCLIPModel:
    layers = {"feature_layers": [1, 2, 3, 4, 5], "image_size": 64}
    return FBCLIPModel.from_official_checkpoint(
        COMPACT / "official_checkpoint.pth", clip=COMPACT / "clip", **layers
    ).eval()


@pytest.fixture
def processor(model: FBCLIPModel) -> FBCLIPProcessor:
    return FBCLIPProcessor.from_config(model.config)


@pytest.fixture
def detect(model: FBCLIPModel, processor: FBCLIPProcessor) -> ZeroShotAnomalyDetectionPipeline:
    return pipeline(TASK, model=model, processor=processor, device="cpu")


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Whole words, and no padding token."""
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="!"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="!")


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Five images of five sizes."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (20 + 7 * i, 50 - 6 * i, 3), dtype=np.uint8) for i in range(5)]


def assert_same(result: dict, expected: dict, tolerance: float = 1e-5) -> None:
    assert list(result) == ["score", "label", "anomaly_map", "mask", "regions"]
    assert result["score"] == pytest.approx(expected["score"], abs=tolerance)
    assert result["label"] == expected["label"]
    torch.testing.assert_close(result["anomaly_map"], expected["anomaly_map"], rtol=0, atol=tolerance)


def test_result_is_that_of_model_and_processor_at_the_images_own_size(detect, model, processor, images) -> None:
    with torch.no_grad():
        outputs = model(**processor(images=images[1]))
    (expected,) = processor.post_process_anomaly_detection(outputs, target_sizes=[(27, 44)])
    result = detect(images[1])
    assert result["anomaly_map"].shape == result["mask"].shape == (27, 44)
    assert_same(result, expected, tolerance=0)


def test_min_area_is_an_argument_of_a_call_and_of_the_pipeline(detect, model, processor, images) -> None:
    (whole,) = detect(images[1], pixel_threshold=0)["regions"]
    assert (whole["box"], whole["area"]) == ([0, 0, 44, 27], 27 * 44)
    assert detect(images[1], pixel_threshold=0, min_area=27 * 44)["regions"] == [whole]
    assert detect(images[1], pixel_threshold=0, min_area=27 * 44 + 1)["regions"] == []
    other = ZeroShotAnomalyDetectionPipeline(model=model, processor=processor, pixel_threshold=0, min_area=2000)
    assert other(images[1])["regions"] == []


def test_every_kind_of_single_image_gives_the_same_result(detect, images, tmp_path: Path) -> None:
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    expected = detect(images[0])
    tensor = torch.from_numpy(images[0]).permute(2, 0, 1)
    for image in (str(tmp_path / "image.png"), tmp_path / "image.png", Image.fromarray(images[0]), tensor):
        assert_same(detect(image), expected, tolerance=0)


def test_bytes_and_base64_text_are_images_and_tables_say_what_to_pass(detect, images) -> None:
    file = io.BytesIO()
    Image.fromarray(images[0]).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    expected = detect(images[0])
    for source in (file.getvalue(), bytearray(file.getvalue()), file, text, f"data:image/png;base64,{text}"):
        assert_same(detect(source), expected)
        (result,) = detect([source])
        assert_same(result, expected)
    for table, remedy in (
        ({"image": images[0]}, "dict is no image"),
        (pd.DataFrame({"path": []}), "list(table['path"),
    ):
        for inputs in (table, [table]):
            with pytest.raises(ValueError, match=re.escape(remedy)):
                detect(inputs)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_batches_give_the_results_of_single_images(detect, images, batch_size: int) -> None:
    results = detect(images, batch_size=batch_size)
    assert [tuple(result["anomaly_map"].shape) for result in results] == [image.shape[:2] for image in images]
    for result, image in zip(results, images, strict=True):
        assert_same(result, detect(image))


def test_columns_and_tuples_give_lists_and_iterators_give_iterators(detect, images, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image).save(path)
    rows = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    expected = detect(images[:3])
    for inputs in (rows["image"], tuple(paths), paths):
        results = detect(inputs, batch_size=2)
        assert isinstance(results, list)
        for result, single in zip(results, expected, strict=True):
            assert_same(result, single)
    for inputs in ((path for path in paths), iter(paths), KeyDataset(rows, "image"), map(Path, paths)):
        results = detect(inputs, batch_size=2)
        assert not isinstance(results, list)
        for result, single in zip(results, expected, strict=True):
            assert_same(result, single)


def test_no_images_give_no_results(detect) -> None:
    assert detect([]) == detect(()) == list(detect(iter([]))) == []


def test_generator_is_read_no_further_than_the_batch(detect, images) -> None:
    read = []
    results = iter(detect((read.append(i) or image for i, image in enumerate(images)), batch_size=2))
    next(results)
    assert read == [0, 1]
    next(results), next(results)
    assert read == [0, 1, 2, 3]


def test_thresholds_of_a_call_come_before_those_of_pipeline_and_processor(model, processor, images) -> None:
    processor.threshold = processor.pixel_threshold = 1.0
    detect = pipeline(TASK, model=model, processor=processor, device="cpu", pixel_threshold=0.0)
    result = detect(images[0])
    assert (result["label"], result["mask"].float().mean().item()) == ("normal", 1.0)
    result = detect(images[0], threshold=0.0, pixel_threshold=1.0)
    assert (result["label"], result["mask"].float().mean().item()) == ("anomalous", 0.0)


def test_prompts_replace_those_of_the_model(detect, model, processor, images, tokenizer) -> None:
    processor.tokenizer = tokenizer
    own = "object without defect.", "object with defect."
    assert processor.encode_prompts(*own).tolist() == model.config.prompt_input_ids
    assert_same(detect(images[0], prompts=own), detect(images[0]))
    swapped = detect(images[0], prompts=own[::-1])
    with torch.no_grad():
        expected = model(**processor(images=images[0]), prompt_input_ids=processor.encode_prompts(*own[::-1]))
    assert swapped["score"] == pytest.approx(expected.image_scores.item(), abs=1e-6)
    assert abs(swapped["score"] - detect(images[0])["score"]) > 1e-4


def test_batches_work_with_a_tokenizer_without_padding_token(model, processor, images, tokenizer) -> None:
    processor.tokenizer = tokenizer
    detect = pipeline(TASK, model=model, processor=processor, device="cpu", batch_size=2)
    assert len(detect(images)) == 5


@pytest.mark.parametrize(
    ("inputs", "options", "reason"),
    [
        ("nowhere.png", {}, r"^nowhere\.png: no such file"),
        (["nowhere.png"], {"batch_size": 2}, r"^nowhere\.png: no such file"),
        ("https://example.org/a.png", {}, "URLs are not fetched"),
        ({"image": "a.png"}, {}, "dict is no image"),
        (np.zeros((4, 4), np.uint8), {"prompts": ("good", "bad")}, "has no tokenizer"),
        (np.zeros((4, 4), np.uint8), {"prompts": "bad"}, r"`prompts` must be two texts, \(normal, anomalous\)"),
        (np.zeros((4, 4), np.uint8), {"threshold": 7}, "`threshold` is 7"),
    ],
)
def test_mistakes_are_named(detect, inputs: object, options: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        detect(inputs, **options)


def test_pipeline_without_processor_says_what_to_pass(model) -> None:
    with pytest.raises(ValueError, match="pass `processor="):
        ZeroShotAnomalyDetectionPipeline(model=model)


def test_half_precision_model_gives_float32_maps(processor, images) -> None:
    layers = {"feature_layers": [1, 2, 3, 4, 5], "image_size": 64}
    half = FBCLIPModel.from_clip(str(COMPACT / "clip"), prompt_input_ids=[[0] * 77] * 2, **layers).to(torch.bfloat16)
    result = pipeline(TASK, model=half, processor=processor, device="cpu")(images[0])
    assert result["anomaly_map"].dtype == torch.float32


def test_folder_of_model_and_processor_is_enough(model, processor, images, detect, tmp_path: Path) -> None:
    processor.threshold = 0.0
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = pipeline(TASK, model=tmp_path, device="cpu")
    assert_same(loaded(images[0]), detect(images[0]), tolerance=1e-6)
    assert loaded(images[0])["label"] == "anomalous"


def test_a_saved_pipeline_loads_without_the_package(detect, images, tokenizer, tmp_path: Path) -> None:
    """In its own process, from the folder only, and without optional libraries."""
    detect.processor.tokenizer = tokenizer
    detect.save_pretrained(tmp_path / "model")
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    script = (
        "import json, sys\n"
        "absent = 'modeling_fbclip accelerate datasets gradio torchvision'.split()\n"
        "sys.modules.update(dict.fromkeys(absent))\n"
        "from transformers import pipeline\n"
        f"detect = pipeline('{TASK}', model='model', trust_remote_code=True, device='cpu')\n"
        "result = detect('image.png', prompts=('object without defect.', 'object with defect.'))\n"
        "print(json.dumps([result['score'], result['anomaly_map'].tolist()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    score, anomaly_map = json.loads(done.stdout.splitlines()[-1])
    expected = detect(images[0])
    assert score == pytest.approx(expected["score"], abs=1e-5)
    torch.testing.assert_close(torch.tensor(anomaly_map), expected["anomaly_map"], rtol=0, atol=1e-5)


def test_a_processor_of_another_prompt_length_is_refused(model) -> None:
    processor = FBCLIPProcessor(image_size=64, prompt_length=model.config.prompt_length + 1)
    with pytest.raises(ValueError, match=r"`prompt_length` is 13, the model's 12; load them together"):
        pipeline(TASK, model=model, processor=processor, device="cpu")
