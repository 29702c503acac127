"""`fbclip remember`, and `--references` and `--mutual` of the other commands."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import pipeline

from modeling_fbclip import FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.references_fbclip import tell_of_one

PLAIN = ("--no-overlays", "--no-maps", "--format", "json")


def save_part(path: Path, seed: int, scratched: bool = False) -> None:
    """Parts alike but for their noise; some with a scratch."""
    base = np.random.default_rng(99).integers(60, 180, (8, 8, 3))
    noise = np.random.default_rng(seed).integers(-6, 7, base.shape)
    picture = Image.fromarray((base + noise).astype(np.uint8)).resize((48, 48), Image.Resampling.BICUBIC)
    pixels = np.array(picture)
    if scratched:
        pixels[10:38, 10:16] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Good images in `good/`, and ten in `parts/`, of which two are scratched."""
    monkeypatch.chdir(tmp_path)
    for index in range(4):
        save_part(Path(f"good/{index}.png"), index)
    for index in range(10):
        save_part(Path(f"parts/{index}.png"), 100 + index, scratched=index in (3, 8))


def decisions(outcome):
    assert outcome.status == 0, outcome.err
    return [row["label"] for row in json.loads(outcome.out)]


EXPECTED = ["anomalous" if index in (3, 8) else "normal" for index in range(10)]


@pytest.mark.usefixtures("parts")
def test_good_images_and_the_images_themselves_find_the_scratches(fbclip, model_folder):
    by_good = fbclip("detect", "parts", "--model", model_folder, "--references", "good", *PLAIN)
    assert decisions(by_good) == EXPECTED
    assert "2 anomalous (score from 0.500 on)" in by_good.err
    one_by_one = [argument for index in range(4) for argument in ("--references", f"good/{index}.png")]
    assert fbclip("detect", "parts", "--model", model_folder, *one_by_one, *PLAIN).out == by_good.out
    assert decisions(fbclip("detect", "parts", "--model", model_folder, "--mutual", *PLAIN)) == EXPECTED


@pytest.mark.usefixtures("parts")
def test_a_model_remembers_and_learns_more(fbclip, model_folder):
    outcome = fbclip("remember", "good/0.png", "good/1.png", "--model", model_folder, "--output", "inspector")
    assert (outcome.status, outcome.out) == (0, "")
    assert "inspector remembers 2 good images" in outcome.err
    assert fbclip("remember", "good/2.png", "good/3.png", "--output", "inspector", "--add").status == 0
    references = FBCLIPReferences.from_pretrained("inspector")
    assert [Path(name).name for name in references.names] == ["0.png", "1.png", "2.png", "3.png"]
    processor = FBCLIPProcessor.from_pretrained("inspector")
    assert (processor.threshold, processor.pixel_threshold, processor.thresholds_with_references) == (0.5, 0.5, True)
    found = fbclip("detect", "parts", "--model", "inspector", *PLAIN)
    assert decisions(found) == EXPECTED
    piped = pipeline("zero-shot-anomaly-detection", model="inspector")([f"parts/{index}.png" for index in range(10)])
    assert [result["label"] for result in piped] == EXPECTED
    given = fbclip("detect", "parts", "--model", model_folder, "--references", "good", *PLAIN)
    assert [row["score"] for row in json.loads(found.out)] == [row["score"] for row in json.loads(given.out)]


@pytest.mark.usefixtures("parts")
def test_one_image_alone_says_what_it_cannot_know(fbclip, model_folder, caplog):
    arguments = ("--model", model_folder, "--references", "good/0.png", *PLAIN)
    tell_of_one.cache_clear()
    assert fbclip("detect", "parts", *arguments).status == 0
    assert "One reference image alone cannot tell how much good ones differ" in caplog.text


@pytest.mark.usefixtures("parts")
def test_calibration_refines_what_is_remembered(fbclip, model_folder):
    assert fbclip("remember", "good", "--model", model_folder, "--output", "inspector").status == 0
    for index in range(19):
        save_part(Path(f"more/{index}.png"), 200 + index)
    outcome = fbclip("calibrate", "more", "--model", "inspector", "--target-fpr", 0.05, "--output", "calibrated")
    assert outcome.status == 0, outcome.err
    assert len(FBCLIPReferences.from_pretrained("calibrated")) == 4
    processor = FBCLIPProcessor.from_pretrained("calibrated")
    assert processor.thresholds_with_references
    assert processor.threshold != 0.5
    found = fbclip("detect", "parts", "--model", "calibrated", *PLAIN)
    assert f"score from {processor.threshold:.3f} on" in found.err
    assert {3, 8} <= {index for index, label in enumerate(decisions(found)) if label == "anomalous"}


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("detect", "parts", "--references", "none"), "--references: none: no such file or folder"),
        (
            ("detect", "parts", "--references", "good", "--mutual"),
            "--mutual: compare with --references or by --mutual",
        ),
        (("detect", "good", "--mutual"), "--mutual: Got 4 images, but need at least 8 images to judge one another"),
        (("remember", "none", "--output", "x"), "GOOD: none: no such file or folder"),
        (("remember", "good", "--output", "good"), "--output: good is not empty"),
        (("remember", "good", "--output", "x", "--add"), "x cannot be loaded"),
    ],
)
def test_a_mistake_is_one_line(fbclip, model_folder, arguments, message):
    with_model = () if "--add" in arguments else ("--model", model_folder)
    outcome = fbclip(*arguments, *with_model)
    assert (outcome.status, len(outcome.err.splitlines())) == (2, 1)
    assert message in outcome.err


@pytest.mark.usefixtures("parts")
def test_references_of_another_processor_are_refused(fbclip, model_folder):
    assert fbclip("remember", "good", "--model", model_folder, "--output", "inspector").status == 0
    settings = json.loads(Path("inspector/processor_config.json").read_text())
    settings["image_processor"]["image_mean"] = [0, 0, 0]
    Path("inspector/processor_config.json").write_text(json.dumps(settings))
    outcome = fbclip("detect", "parts", "--model", "inspector")
    assert outcome.status == 2
    assert "made with another processor; make them again" in outcome.err


@pytest.mark.usefixtures("parts")
def test_shots_are_measured_beside_the_texts_alone(fbclip, model_folder):
    for index in range(6):
        save_part(Path(f"data/part/test/good/{index}.png"), 300 + index)
        save_part(Path(f"data/part/test/scratch/{index}.png"), 400 + index, scratched=True)
        mask = np.zeros((48, 48), np.uint8)
        mask[10:38, 10:16] = 255
        target = Path(f"data/part/ground_truth/scratch/{index}_mask.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target)
    arguments = ("evaluate", "data", "--model", model_folder, "--size", 48, "--shots", 1, 2, "--seeds", 2)
    outcome = fbclip(*arguments, "--format", "json", "--output", "report.json")
    assert outcome.status == 0, outcome.err
    report = json.loads(outcome.out)
    assert report == json.loads(Path("report.json").read_text())
    assert list(report["mean"]) == ["zero-shot", "1", "2"]
    assert report["settings"] == {"shots": [1, 2], "seeds": 2, "mutual": False, "size": 48}
    assert report["mean"]["2"]["mean"]["image_auroc"] == 1.0
    assert report["mean"]["2"]["zero_shot"]["image_auroc"] < 1.0
    table = fbclip(*arguments, "--format", "markdown").out
    assert "| part | 2 | 100.0 ± 0.0 (" in table
    for index in range(3):
        save_part(Path(f"data/part/train/good/{index}.png"), 500 + index)
    from_train = json.loads(fbclip(*arguments, "--mutual", "--format", "json").out)
    assert list(from_train["mean"]) == ["zero-shot", "1", "2", "mutual"]
    zero_shot = from_train["mean"]["zero-shot"]["mean"]
    assert from_train["mean"]["1"]["zero_shot"] == zero_shot  # no image leaves the test
    too_many = fbclip("evaluate", "data", "--model", model_folder, "--shots", 9)
    assert (too_many.status, len(too_many.err.splitlines())) == (2, 1)
    assert "--shots: 9 references need more good images than the 3 of a category" in too_many.err
