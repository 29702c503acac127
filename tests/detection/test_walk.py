"""The walk from files to results: each image is decoded once, and taken as it is from there on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from modeling_fbclip import FBCLIPProcessor, ZeroShotAnomalyDetectionPipeline
from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.image_finder import ImageFinder
from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.detection.processes import ALONE
from modeling_fbclip.detection.results import Results
from modeling_fbclip.detection.row_files import Done
from modeling_fbclip.detection.run import detect_all
from modeling_fbclip.detection.sources import open_images
from modeling_fbclip.evaluation import calibrate_dataset, evaluate
from modeling_fbclip.images_fbclip import load_rgb_image


@pytest.fixture
def detector(tiny_model) -> Detector:
    return Detector(tiny_model, FBCLIPProcessor.from_config(tiny_model.config))


@pytest.fixture
def parts(tmp_path) -> Path:
    """A data set of three good images and two bad ones, with a mask each."""
    generator = np.random.default_rng(0)
    for name in ("good/0", "good/1", "good/2", "dent/0", "dent/1"):
        path = tmp_path / "parts" / "test" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (24, 40, 3), dtype=np.uint8)).save(path)
    for name in ("dent/0", "dent/1"):
        mask = tmp_path / "parts" / "ground_truth" / f"{name}_mask.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(24, 40) > 0).save(mask)
    return tmp_path / "parts"


@pytest.fixture
def decoded(monkeypatch) -> Counter[str]:
    """How many times the pixels of each file were decoded."""
    counts: Counter[str] = Counter()
    load = ImageFile.ImageFile.load

    def count(image):
        if image.tile:  # there are pixels to decode still
            counts[Path(getattr(image.fp, "name", "")).name or "unnamed"] += 1
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", count)
    return counts


def test_detect_decodes_each_image_once(detector, parts, decoded, tmp_path):
    finder = ImageFinder(recursive=True, output=tmp_path / "out")
    source = open_images([str(parts / "test")], finder, None, batch_size=2)
    results = Results(detector, source.folder, tmp_path / "out", overlays=True, maps=True)
    rows = []
    detect_all(source, results, ALONE, Done([]), lambda _, row: rows.append(row), lambda: None)
    assert [row.error for row in rows] == [None] * 5
    assert decoded == {"0.jpg": 2, "1.jpg": 2, "2.jpg": 1}  # two folders have a 0.jpg and a 1.jpg


def test_a_source_that_fails_leaves_the_rows_before_it(detector, parts, tmp_path):
    finder = ImageFinder(recursive=True, output=tmp_path / "out")
    source = open_images([str(parts / "test")], finder, None, batch_size=1)

    def broken(processes):
        yield from list(source.batches(processes))[:4]
        raise OSError("the stream broke")

    results = Results(detector, source.folder, tmp_path / "out", overlays=True, maps=False)
    rows = []
    with pytest.raises(OSError, match="the stream broke"):
        detect_all(
            source._replace(batches=broken), results, ALONE, Done([]), lambda _, row: rows.append(row), lambda: None
        )
    assert len(rows) == 4
    assert sorted(row.overlay for row in rows) == sorted(map(str, (tmp_path / "out").rglob("*.png")))


def test_evaluate_and_calibrate_decode_each_image_once(detector, parts, decoded):
    dataset = load_anomaly_dataset(parts)
    evaluate(detector.model, detector.processor, dataset, size=32)
    assert decoded == {"0.jpg": 2, "1.jpg": 2, "2.jpg": 1, "0_mask.png": 1, "1_mask.png": 1}
    decoded.clear()
    calibrate_dataset(detector.model, detector.processor, dataset, target_fpr=0.3)
    assert decoded == {"0.jpg": 1, "1.jpg": 1, "2.jpg": 1}


def test_the_pipeline_decodes_each_image_once(detector, parts, decoded):
    pipeline = ZeroShotAnomalyDetectionPipeline(model=detector.model, processor=detector.processor)
    pipeline([str(path) for path in sorted((parts / "test" / "good").iterdir())])
    assert decoded == {"0.jpg": 1, "1.jpg": 1, "2.jpg": 1}


def test_a_plain_picture_is_taken_as_it_is(tmp_path):
    Image.new("RGB", (5, 4), (1, 2, 3)).save(tmp_path / "plain.png")
    picture = load_rgb_image(tmp_path / "plain.png")
    assert load_rgb_image(picture) is picture


def test_three_steps_give_what_the_pipeline_gives(detector, synthetic_image):
    pipeline = ZeroShotAnomalyDetectionPipeline(model=detector.model, processor=detector.processor)
    expected, found = pipeline(synthetic_image), detector(synthetic_image)
    assert (found["score"], found["label"]) == (expected["score"], expected["label"])
    assert torch.equal(found["anomaly_map"], expected["anomaly_map"])
    assert torch.equal(found["mask"], expected["mask"])


def test_outputs_that_are_not_finite_are_an_error_of_their_image(detector, synthetic_image, tmp_path):
    synthetic_image.save(tmp_path / "photo.png")
    source = open_images([str(tmp_path / "photo.png")], ImageFinder(False, tmp_path / "out"), None, batch_size=1)
    torch.nn.init.constant_(detector.model.scale_weights, torch.nan)
    results = Results(detector, source.folder, tmp_path / "out", overlays=True, maps=True)
    rows = []
    seen = detect_all(source, results, ALONE, Done([]), lambda _, row: rows.append(row), lambda: None)
    assert "not finite" in rows[0].error
    assert seen.outcomes == {"error": 1}


@pytest.mark.parametrize("has_instructions", [True, False])
def test_bfloat16_without_instructions_gives_one_warning(has_instructions, monkeypatch, caplog):
    monkeypatch.setattr("modeling_fbclip.detection.loading.computes_bfloat16", lambda _: has_instructions)
    load_detector(None, "cpu", "bfloat16")
    told = [record.getMessage() for record in caplog.records if "bfloat16" in record.getMessage()]
    assert len(told) == (0 if has_instructions else 1)
    caplog.clear()
    load_detector(None, "cpu", "float32")
    assert not caplog.records


def test_a_picture_that_cannot_be_saved_leaves_the_score_in_the_row(detector, synthetic_image, tmp_path):
    long, short = tmp_path / ("n" * 246 + ".png"), tmp_path / "photo.png"
    for path in (long, short):
        synthetic_image.save(path)
    source = open_images([str(long), str(short)], ImageFinder(False, tmp_path / "out"), None, batch_size=2)
    results = Results(detector, source.folder, tmp_path / "out", overlays=True, maps=True)
    rows = []
    seen = detect_all(source, results, ALONE, Done([]), lambda _, row: rows.append(row), lambda: None)
    assert rows[0].score == pytest.approx(rows[1].score, abs=1e-6)
    assert rows[0].label == rows[1].label
    assert (rows[0].overlay, rows[0].map, rows[1].error) == (None, None, None)
    assert rows[0].error == f"map.png cannot be saved in {tmp_path}/out: File name too long"
    assert seen.outcomes == {rows[0].label: 2, "error": 1}
