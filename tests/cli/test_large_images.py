"""`--tile`, `--overlap` and `--keep-aspect` of every command that examines images."""

import json

import numpy as np
import pytest
from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image

from modeling_fbclip import FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.evaluation import calibrate, compute_metrics, evaluate
from modeling_fbclip.thresholds_fbclip import tell_other_mode

TILES = "32x32 pixels in tiles of 32 that overlap by 8"


@pytest.fixture(autouse=True)
def forget_warnings():
    tell_other_mode.cache_clear()


@pytest.fixture
def parts(save_photograph, tmp_path, monkeypatch):
    """Two large photographs of one shape and a small one."""
    monkeypatch.chdir(tmp_path)
    save_photograph("parts/a.png", 70, 50)
    save_photograph("parts/b.png", 70, 50, seed=1)
    save_photograph("parts/c.png", 30, 20, seed=2)
    return tmp_path / "parts"


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_rows_are_those_of_the_detector_whatever_the_batch(fbclip, model_folder, parts, batch_size):
    outcome = fbclip(
        *("detect", parts, "--model", model_folder, "--tile", "auto", "--format", "json", "--batch-size", batch_size)
    )
    assert outcome.status == 0, outcome.err
    detector = load_detector(str(model_folder), "cpu", own={"tile": "auto"})
    expected = [detector(Image.open(path).convert("RGB"))["score"] for path in sorted(parts.iterdir())]
    assert [row["score"] for row in json.loads(outcome.out)] == pytest.approx(expected, abs=1e-6)
    whole = load_detector(str(model_folder), "cpu")
    assert whole(Image.open(parts / "c.png").convert("RGB"))["score"] == pytest.approx(expected[2], abs=1e-6)
    assert whole(Image.open(parts / "a.png").convert("RGB"))["score"] < expected[0]


def test_the_setting_of_the_models_file_is_used_and_may_be_turned_off(fbclip, model_folder, parts):
    FBCLIPProcessor.from_pretrained(model_folder, tile="auto").save_pretrained(model_folder)

    def scores(*options):
        outcome = fbclip("detect", parts, "--model", model_folder, "--format", "json", "--no-overlays", *options)
        return [row["score"] for row in json.loads(outcome.out)]

    assert scores() == scores("--tile", "auto") != scores("--tile", "none")
    assert scores("--tile", "none", "--keep-aspect") != scores("--tile", "none")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tile", "large"), "--tile: 'large' is neither a number of pixels, nor auto, nor none"),
        (("--tile", "0"), "--tile: '0' is neither"),
        (("--tile", "32", "--overlap", "16"), "--tile: --overlap is 16, but must be from 8 (a patch) to 15 pixels"),
    ],
)
@pytest.mark.parametrize("command", ["detect", "remember", "calibrate", "evaluate"])
def test_a_mistake_is_one_line(fbclip, model_folder, parts, command, options, said):
    output = () if command in ("evaluate", "detect") else ("--output", "out")
    if command in ("evaluate", "calibrate"):
        (parts / "good").mkdir()
        for path in list(parts.glob("*.png")):
            path.rename(parts / "good" / path.name)
        (parts / "bad").mkdir()
        Image.new("RGB", (40, 40)).save(parts / "bad" / "x.png")
    extra = ("--criterion", "youden") if command == "calibrate" else ()
    outcome = fbclip(command, parts, "--model", model_folder, *output, *extra, *options)
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1, outcome.err


def test_a_folder_remembers_tiles_and_its_thresholds_follow(fbclip, model_folder, parts, caplog):
    (parts / "c.png").unlink()
    FBCLIPProcessor.from_pretrained(model_folder, thresholds_mode="32x32 pixels").save_pretrained(model_folder)
    outcome = fbclip("remember", parts, "--model", model_folder, "--tile", "auto", "--output", "inspector")
    assert outcome.status == 0, outcome.err
    assert len(FBCLIPReferences.from_pretrained("inspector").views) == 13
    assert FBCLIPProcessor.from_pretrained("inspector").tile == "auto"
    again = fbclip("detect", parts, "--model", "inspector", "--format", "json")
    assert again.status == 0, again.err
    assert not caplog.records
    assert fbclip("remember", parts / "a.png", "--add", "--output", "inspector").status == 2  # a is known
    squashed = fbclip("detect", parts, "--model", "inspector", "--tile", "none")
    assert squashed.status == 2
    assert "The references were made with another processor" in squashed.err


def test_an_image_of_another_shape_than_the_references_is_an_error_of_its_row(fbclip, model_folder, parts):
    good = [str(parts / "a.png"), str(parts / "b.png")]
    options = [option for path in good for option in ("--references", path)]
    outcome = fbclip("detect", parts, "--model", model_folder, "--tile", "auto", *options, "--format", "json")
    assert outcome.status == 1
    rows = json.loads(outcome.out)
    assert [row["error"] is None for row in rows] == [True, True, False]
    assert "The image's shape gives 1 views, the first of (4, 4) patches" in rows[2]["error"]


def test_thresholds_are_set_and_used_for_the_mode(
    fbclip, model_folder, save_photograph, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    for index in range(9):
        save_photograph(f"good/{index}.png", 70, 50, seed=index)
    FBCLIPProcessor.from_pretrained(model_folder, thresholds_mode="32x32 pixels").save_pretrained(model_folder)
    fbclip("detect", "good", "--model", model_folder, "--tile", "auto")
    line = f"Thresholds for 32x32 pixels are used for {TILES}; set them for it by `fbclip calibrate`."
    assert [record.getMessage() for record in caplog.records] == [line]
    options = ("--model", model_folder, "--tile", "auto", "--output", "set", "--target-fpr", 0.1)
    outcome = fbclip("calibrate", "good", *options)
    assert outcome.status == 0, outcome.err
    processor = FBCLIPProcessor.from_pretrained("set")
    assert (processor.tile, processor.thresholds_mode) == ("auto", TILES)
    assert processor.other_thresholds == {"32x32 pixels": {"threshold": 0.5, "pixel_threshold": 0.5}}
    quiet = fbclip("detect", "good", "--model", "set", "--format", "json")
    assert len(caplog.records) == 1
    assert {row["label"] for row in json.loads(quiet.out)} == {"normal"}
    save_photograph("good/small.png", 20, 20)
    mixed = fbclip("calibrate", "good", *options, "--force")
    assert mixed.status == 2
    assert f"seen in 2 ways, 9 as {TILES} and 1 as 32x32 pixels; set the thresholds from images of one" in mixed.err


def test_the_summary_names_the_threshold_of_each_mode(fbclip, model_folder, parts):
    processor = FBCLIPProcessor.from_pretrained(model_folder, threshold=0.25, thresholds_mode="32x32 pixels")
    processor.other_thresholds = {TILES: {"threshold": 0.75, "pixel_threshold": 0.5}}
    processor.save_pretrained(model_folder)
    outcome = fbclip("detect", parts, "--model", model_folder, "--tile", "auto")
    assert f"(score from 0.750 on as {TILES}, 0.250 on as 32x32 pixels)" in outcome.err


def test_images_of_different_sizes_are_compared_at_their_own(fbclip, model_folder, save_photograph, tmp_path):
    root = tmp_path / "data"
    masks = {}
    for index, (width, height) in enumerate([(70, 50), (40, 64), (30, 20)]):
        save_photograph(root / f"cap/test/good/{index}.png", width, height, seed=index)
        save_photograph(root / f"cap/test/dent/{index}.png", width, height, seed=20 + index)
        masks[index] = np.zeros((height, width), dtype=np.uint8)
        masks[index][5:12, 6:19] = 255
        (root / "cap/ground_truth/dent").mkdir(parents=True, exist_ok=True)
        Image.fromarray(masks[index]).save(root / f"cap/ground_truth/dent/{index}_mask.png")
    outcome = fbclip("evaluate", root, "--model", model_folder, "--tile", "auto", "--format", "json")
    assert outcome.status == 0, outcome.err
    report = json.loads(outcome.out)
    assert (report["settings"]["size"], report["settings"]["tile"]) == ("own", "auto")
    detector = load_detector(str(model_folder), "cpu", own={"tile": "auto"})
    maps, truths, scores, labels = [], [], [], []
    for label, kind in enumerate(("good", "dent")):
        for index in range(3):
            result = detector(Image.open(root / f"cap/test/{kind}/{index}.png").convert("RGB"))
            maps.append(result["anomaly_map"].numpy())
            truths.append((masks[index] > 0) * label)
            scores.append(result["score"])
            labels.append(label)
    assert report["categories"]["cap"] == pytest.approx(compute_metrics(maps, truths, scores, labels), abs=1e-5)
    at_size = fbclip("evaluate", root, "--model", model_folder, "--tile", "auto", "--size", 48, "--format", "json")
    assert json.loads(at_size.out)["settings"]["size"] == [48, 48]
    refused = fbclip("evaluate", root, "--model", model_folder, "--tile", "auto", "--smoothing-sigma", 2)
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "--smoothing-sigma: is for images that are seen whole and squashed, at one size" in refused.err
    assert fbclip("evaluate", root, "--model", model_folder, "--size", "big").status == 2


def test_shots_are_measured_on_tiles(fbclip, model_folder, save_photograph, tmp_path):
    root = tmp_path / "data"
    for index in range(4):
        save_photograph(root / f"cap/test/good/{index}.png", 50, 40, seed=index)
        save_photograph(root / f"cap/test/dent/{index}.png", 50, 40, seed=20 + index)
    options = ("--tile", "auto", "--shots", 1, "--seeds", 1, "--format", "json")
    outcome = fbclip("evaluate", root, "--model", model_folder, *options)
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)["categories"]["cap"]
    assert set(found) == {"zero-shot", "1"}
    assert 0 <= found["1"]["mean"]["image_auroc"] <= 1


def test_python_takes_the_same_settings(tiny_model, save_photograph, tmp_path):
    processor = FBCLIPProcessor.from_config(tiny_model.config).with_views(tile="auto")
    images = [Image.open(save_photograph(tmp_path / f"{index}.png", 50, 40, seed=index)) for index in range(9)]
    found = calibrate(tiny_model, processor, images, target_fpr=0.1)
    assert (processor.threshold, processor.thresholds_mode) == (found.threshold, TILES)
    dataset = Dataset.from_dict(
        {"image": [str(tmp_path / f"{index}.png") for index in range(4)], "label": [0, 0, 1, 1]}
    )

    report = evaluate(tiny_model, processor, dataset.cast_column("image", ImageFeature()))
    assert report["settings"]["size"] == "own"
    assert report["settings"]["smoothing_sigma"] == processor.smoothing_sigma
