"""`fbclip calibrate`: the saved model decides by the new thresholds, and no mistake changes a file."""

import json
from pathlib import Path

import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as PILImage

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.common.provenance import recorded_images
from modeling_fbclip.digests_fbclip import image_digest


@pytest.fixture
def good(tmp_path, save_photograph, monkeypatch):
    """A folder of nine good parts, in an empty working folder."""
    for index in range(9):
        save_photograph(tmp_path / f"good_parts/{index}.png", seed=index)
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    return tmp_path / "good_parts"


@pytest.fixture
def labelled(tmp_path, save_photograph):
    """Nine good and three bad parts of one category, without masks."""
    for index in range(9):
        save_photograph(tmp_path / f"data/no/{index}.png", seed=index)
    for index in range(3):
        save_photograph(tmp_path / f"data/yes/{index}.png", seed=20 + index)
    return tmp_path / "data"


@pytest.fixture
def calibrate(fbclip, model_folder):
    return lambda *arguments: fbclip("calibrate", *arguments, "--model", model_folder)


def thresholds_of(folder):
    processor = FBCLIPProcessor.from_pretrained(folder)
    return processor.threshold, processor.pixel_threshold


def test_good_parts_are_called_normal_afterwards(calibrate, fbclip, good):
    outcome = calibrate(good, "--output", "calibrated", "--target-fpr", 0.1)
    assert outcome.status == 0, outcome.err
    threshold, pixel_threshold = thresholds_of("calibrated")
    assert (
        outcome.out == f"all images: threshold {threshold:.4f}, pixel threshold {pixel_threshold:.4f}, from 9 images\n"
    )
    assert outcome.err == "saved to calibrated; try it: fbclip detect --model calibrated photo.jpg\n"
    detected = fbclip("detect", good, "--model", "calibrated", "--format", "json")
    assert {row["label"] for row in json.loads(detected.out)} == {"normal"}
    assert FBCLIPModel.from_pretrained("calibrated").config.image_size == 32


def test_in_the_models_own_folder_only_the_processor_changes(calibrate, good, model_folder):
    before = {path.name: path.read_bytes() for path in model_folder.iterdir() if path.is_file()}
    assert calibrate(good, "--output", model_folder, "--target-fpr", 0.1).status == 0
    after = {path.name: path.read_bytes() for path in model_folder.iterdir() if path.is_file()}
    assert {name for name in after if after[name] != before.get(name)} == {
        "processor_config.json",
        "calibration_record.json",
    }
    assert thresholds_of(model_folder) != (0.5, 0.5)


def test_the_working_folder_may_be_the_models(calibrate, good, model_folder, monkeypatch):
    monkeypatch.chdir(model_folder)
    before = {path.name for path in model_folder.parent.iterdir()}
    assert calibrate(good, "--output", ".", "--target-fpr", 0.1).status == 0
    assert thresholds_of(model_folder) != (0.5, 0.5)
    assert {path.name for path in model_folder.parent.iterdir()} == before


def test_labels_beside_loose_images_are_used(calibrate, good, save_photograph):
    save_photograph("data/preview.png", seed=99)
    good.rename("data/good")
    save_photograph("data/bent/0.png", seed=98)
    outcome = calibrate("data", "--output", "calibrated", "--target-fpr", 0.1)
    assert outcome.out.endswith(", from 9 images\n")


def test_tables_beside_loose_images_are_used(calibrate, good, save_photograph):
    rows = {"image": [str(path) for path in sorted(good.iterdir())], "label": [0] * 9}
    Path("tables").mkdir()
    Dataset.from_dict(rows, features=Features({"image": Image(), "label": Value("int64")})).to_parquet(
        "tables/test.parquet"
    )
    save_photograph("tables/preview.png", seed=99)
    outcome = calibrate("tables", "--output", "calibrated", "--target-fpr", 0.1)
    assert outcome.out.endswith(", from 9 images\n"), outcome.err


def test_a_missing_split_or_category_of_good_images_is_named(calibrate, good):
    for arguments in (["--split", "train"], ["--category", "screw"]):
        outcome = calibrate(good, "--output", "calibrated", *arguments)
        assert (outcome.status, outcome.err.count("\n")) == (2, 1)
        assert f"good_parts: has no {arguments[0][2:]} {arguments[1]!r}" in outcome.err


def test_a_labelled_data_set_is_used_as_the_criterion_needs(calibrate, good, labelled):
    assert calibrate(good, "--output", "from_folder", "--target-fpr", 0.1).status == 0
    assert calibrate(labelled, "--output", "from_data", "--target-fpr", 0.1).status == 0
    assert thresholds_of("from_data") == pytest.approx(thresholds_of("from_folder"))
    outcome = calibrate(labelled, "--output", "from_labels", "--criterion", "youden")
    assert outcome.out.startswith("all images: threshold ")
    assert outcome.out.endswith("from 12 images\n")
    assert thresholds_of("from_labels")[1] == 0.5  # there are no masks


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "9 normal images are too few for a false positive rate of 0.01, which needs 99"),
        (["--target-fpr", 1.5], "--target-fpr: --target-fpr is 1.5, but must be above 0 and below 1"),
        (["--criterion", "youden"], "holds images without labels, which only --criterion conformal takes"),
        (["--per-category"], "holds images without labels"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(calibrate, good, arguments, said):
    outcome = calibrate(good, "--output", "calibrated", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_a_folder_that_is_not_empty_is_kept_unless_forced(calibrate, good):
    Path("calibrated").mkdir()
    Path("calibrated/notes.txt").write_text("mine")
    outcome = calibrate(good, "--output", "calibrated", "--target-fpr", 0.1)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "calibrated is not empty" in outcome.err
    assert calibrate(good, "--output", "calibrated", "--target-fpr", 0.1, "--force").status == 0
    assert Path("calibrated/notes.txt").read_text() == "mine"


def test_a_damaged_image_is_named(calibrate, good):
    (good / "4.png").write_bytes(b"no image")
    outcome = calibrate(good, "--output", "calibrated", "--target-fpr", 0.1)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "4.png" in outcome.err
    assert list(Path().iterdir()) == []


def test_the_training_records_are_copied_with_the_model(calibrate, good, model_folder):
    for name in ("training_record.json", "recipe.json", "evaluation.json"):
        (model_folder / name).write_text(f'{{"image_digests": ["{name}"]}}')
    assert calibrate(good, "--output", "calibrated", "--target-fpr", 0.1).status == 0
    copied = {path.name for path in Path("calibrated").iterdir()}
    assert copied >= {"training_record.json", "recipe.json"}
    assert "evaluation.json" not in copied  # of other thresholds
    assert recorded_images(FBCLIPModel.from_pretrained("calibrated")) == {"training_record.json"}


def test_each_category_gets_its_own_f1_threshold(calibrate, fbclip, good, save_photograph):  # noqa: ARG001
    for seed, name in enumerate(("bolt/test/good", "bolt/test/bent", "nut/test/good", "nut/test/torn")):
        for index in range(2):
            save_photograph(f"data/{name}/{index}.png", seed=10 * seed + index)
    outcome = calibrate("data", "--output", "calibrated", "--criterion", "f1_max", "--per-category")
    assert outcome.status == 0, outcome.err
    assert [line.split(":")[0] for line in outcome.out.splitlines()] == ["all images", "bolt", "nut"]
    assert [line.split(", ")[-1] for line in outcome.out.splitlines()] == [f"from {n} images" for n in (8, 4, 4)]
    processor = FBCLIPProcessor.from_pretrained("calibrated")
    assert list(processor.category_thresholds) == ["bolt", "nut"]
    assert f"bolt: threshold {processor.category_thresholds['bolt']['threshold']:.4f}," in outcome.out
    detected = fbclip("detect", "--data", "data", "--model", "calibrated", "--format", "csv")
    assert "score from the category's threshold on" in detected.err


def test_the_layout_option_is_used(calibrate, good):
    outcome = calibrate(good, "--output", "calibrated", "--target-fpr", 0.1, "--layout", "good-only")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("all images: threshold ")


@pytest.fixture
def with_training(tmp_path, save_photograph, good):
    """MVTec's layout: nine good images for training, and a good and a bad one for the test."""
    good.rename(tmp_path / "good")
    (tmp_path / "data/train").mkdir(parents=True)
    (tmp_path / "good").rename(tmp_path / "data/train/good")
    save_photograph(tmp_path / "data/test/good/0.png", seed=30)
    save_photograph(tmp_path / "data/test/bent/0.png", seed=31)
    return tmp_path / "data"


def test_good_images_for_training_set_the_thresholds_and_the_record_says_so(calibrate, fbclip, with_training):
    outcome = calibrate(with_training, "--output", "calibrated", "--target-fpr", 0.1, "--score", "map_max")
    assert outcome.status == 0, outcome.err
    assert outcome.out.endswith(", from 9 images\n")
    assert outcome.err.startswith(f"the thresholds come from the split 'train' of {with_training}\n")
    record = json.loads(Path("calibrated/calibration_record.json").read_text())
    assert record["data"] == {"hub_id": None, "split": "train", "criterion": "conformal", "target_fpr": 0.1}
    assert record["score"] == "map_max" == FBCLIPProcessor.from_pretrained("calibrated").score
    images = [image_digest(PILImage.open(path)) for path in (with_training / "train/good").iterdir()]
    assert record["image_digests"] == sorted(images)
    evaluated = fbclip("evaluate", with_training, "--model", "calibrated", "--size", 32, "--format", "json")
    assert json.loads(evaluated.out)["calibration_overlap"] == {"images": 0, "of": 2}
    labelled = calibrate(with_training, "--output", "labelled", "--criterion", "youden")
    assert "'test'" in labelled.err
    assert labelled.out.endswith(", from 2 images\n")


@pytest.mark.parametrize("shard_size", ["1GB", "50KB"])
def test_the_weights_are_copied_bit_for_bit(fbclip, good, tiny_model, tmp_path, shard_size):
    model = tmp_path / "own"
    tiny_model.half().save_pretrained(model, max_shard_size=shard_size)
    FBCLIPProcessor.from_config(tiny_model.config).save_pretrained(model)
    assert fbclip("calibrate", good, "--output", "calibrated", "--target-fpr", 0.1, "--model", model).status == 0
    weights = sorted(path.name for path in model.glob("model*.safetensors*"))
    assert (len(weights) == 1) == (shard_size == "1GB")
    assert sorted(path.name for path in Path("calibrated").glob("model*.safetensors*")) == weights
    for name in weights:
        assert Path("calibrated", name).read_bytes() == (model / name).read_bytes()
    FBCLIPModel.from_pretrained("calibrated")


def test_images_are_counted_before_one_is_read(calibrate, good):
    (good / "4.png").write_bytes(b"no image")
    outcome = calibrate(good, "--output", "calibrated")
    assert "9 normal images are too few" in outcome.err
    assert calibrate(good, "--output", "calibrated", "--criterion", "youden", "--target-fpr", 0.1).err == (
        "fbclip: Invalid value for --target-fpr: has no effect with --criterion youden\n"
    )
