"""`fbclip train`: from the folder of a data set to a model that other commands can use."""

import json
import subprocess
import sys

import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState
from PIL import Image
from training.conftest import damaged_png

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.training import steps


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def data(tmp_path, save_photograph):
    """MVTec's layout: two good images, two with a scratch and its mask."""
    for number in range(2):
        save_photograph(tmp_path / f"data/tile/test/good/{number}.png", seed=number)
        save_photograph(tmp_path / f"data/tile/test/scratch/{number}.png", seed=10 + number)
        mask = tmp_path / f"data/tile/ground_truth/scratch/{number}_mask.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.pad(np.full((4, 9), 255, dtype=np.uint8), ((4, 4), (6, 5)))).save(mask)
    return tmp_path / "data"


@pytest.fixture
def train(fbclip, data, model_folder, tmp_path):
    return lambda *arguments: fbclip(
        "train", data, "--model", model_folder, "--output", tmp_path / "trained", *arguments
    )


def test_a_trained_model_detects_and_its_training_is_recorded(train, fbclip, data, tmp_path):
    outcome = train("--epochs", 2, "--batch-size", 2, "--adam-betas", 0.9, 0.99, "--category", "tile")
    assert (outcome.status, outcome.out) == (0, "")
    assert outcome.err.startswith(f"saved to {tmp_path}/trained; trained on the split 'test'; ")
    assert outcome.err.endswith(
        f"fbclip calibrate good_parts/ --model {tmp_path}/trained --output {tmp_path}/trained\n"
    )
    assert len((tmp_path / "trained/log.jsonl").read_text().splitlines()) == 4
    record = json.loads((tmp_path / "trained/training_record.json").read_text())
    assert record["arguments"]["adam_betas"] == [0.9, 0.99]
    assert record["data"]["images"] == 4
    assert record["data"]["categories"] == ["tile"]
    photo = data / "tile/test/good/0.png"
    outcome = fbclip("detect", photo, "--model", tmp_path / "trained", "--output", tmp_path / "out")
    assert outcome.status == 0, outcome.err


def test_defaults_are_the_published_ones(train, tmp_path):
    assert train().status == 0
    arguments = json.loads((tmp_path / "trained/training_record.json").read_text())["arguments"]
    published = {"epochs": 3, "batch_size": 4, "learning_rate": 5e-5, "adam_betas": [0.5, 0.999], "seed": 42}
    assert published.items() <= arguments.items()
    assert arguments["lr_scheduler"] == "constant"


def test_the_start_prints_each_setting_and_where_it_comes_from(train, model_folder, caplog):
    file = model_folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"training": {"epochs": 1, "augment": True}}))
    assert train("--learning-rate", 1e-3).status == 0
    said = [record.getMessage() for record in caplog.records]
    own = "the model's settings: epochs 1, augment True, focal_gamma 4.0, dice_weight 0.2, consistency_weight 0.15"
    assert {own, "given settings: learning_rate 0.001"} <= set(said)
    assert any(line.startswith("default settings: batch_size 4, adam_betas [0.5, 0.999], seed 42,") for line in said)
    assert any("images are flipped, turned by quarters" in line for line in said)
    assert any("4 images: 2 good, 2 anomalous; 2 masks" in line for line in said)
    assert any("fbclip remember" in line for line in said)


def test_as_published_and_no_augment_win_over_the_model(train, model_folder, tmp_path):
    file = model_folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"training": {"epochs": 1, "augment": True}}))
    for name, option, epochs in (("published", "--as-published", 3), ("plain", "--no-augment", 1)):
        assert train(option, "--output", tmp_path / name).status == 0
        arguments = json.loads((tmp_path / name / "training_record.json").read_text())["arguments"]
        assert (arguments["epochs"], arguments["augment"]) == (epochs, False)


def test_none_is_no_folder_for_features(train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train("--cache-features", "none").status == 0
    assert not (tmp_path / "none").exists()
    assert train("--cache-features", "none", "--synthetic", "--output", tmp_path / "painted").status == 0


def test_a_rate_that_ruins_the_model_is_one_line(train, tmp_path):
    outcome = train("--learning-rate", 1e6)
    assert outcome.status == 2
    assert "lower --learning-rate, which is 1e+06" in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err
    assert (tmp_path / "trained/model.safetensors").exists()


def test_every_option_reaches_the_run(train, tmp_path):
    options = "--epochs 1 --batch-size 2 --learning-rate 1e-3 --seed 7 --lr-scheduler constant_with_warmup "
    options += "--warmup-steps 1 --max-grad-norm 1 --mixed-precision bf16 --gradient-accumulation-steps 2 "
    options += "--gradient-checkpointing --validation-fraction 0.5 --cache-dtype float32 --checkpoint-steps 1 "
    options += "--checkpoint-limit 1 --resume auto --workers 1 "
    options += "--focal-gamma 1 --dice-weight 0.5 --consistency-weight 0"
    outcome = train(*options.split(), "--cache-features", tmp_path / "cache")
    assert outcome.status == 0, outcome.err
    arguments = json.loads((tmp_path / "trained/training_record.json").read_text())["arguments"]
    expected = {"epochs": 1, "batch_size": 2, "learning_rate": 1e-3, "seed": 7, "warmup_steps": 1}
    expected |= {"lr_scheduler": "constant_with_warmup", "max_grad_norm": 1.0, "mixed_precision": "bf16"}
    expected |= {"validation_fraction": 0.5, "cache_dtype": "float32"}
    expected |= {"focal_gamma": 1.0, "dice_weight": 0.5, "consistency_weight": 0.0}
    assert expected.items() <= arguments.items()
    assert len(list((tmp_path / "cache").glob("*/*.safetensors"))) == 4
    assert max(path.name for path in (tmp_path / "trained/checkpoints").iterdir()) == "step-000000001"


def test_the_options_load_no_heavy_library():
    code = "import sys, modeling_fbclip.cli.train, modeling_fbclip.training; "
    code += "sys.exit(not {'torch', 'transformers', 'accelerate', 'datasets'}.isdisjoint(sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_good_images_train_with_synthetic(train, data):
    for defective in (data / "tile/test/scratch").iterdir():
        defective.unlink()
    (data / "tile/test/scratch").rmdir()
    outcome = train("--epochs", 1)
    assert outcome.status == 2
    assert "there is nothing to learn" in outcome.err
    assert train("--epochs", 1, "--synthetic").status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "-1"], "--learning-rate: --learning-rate is -1.0, but must be greater than 0"),
        (["--focal-gamma", "-1"], "--focal-gamma is -1.0, but must be at least 0"),
        (["--lr-scheduler", "sine"], "'sine' is not one of"),
        (["--report-to", "paper"], "--report-to has 'paper'"),
        (["--resume", "nowhere"], "nowhere: cannot be resumed"),
        (["--category", "screw"], "screw"),
        (
            ["--layout", "visa"],
            "no data set found. Leave the layout out to have it recognised. Looked for split_csv/1cls",
        ),
    ],
)
def test_a_mistake_is_one_line(train, arguments, message, tmp_path):
    outcome = train(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "trained/config.json").exists()


def test_an_output_folder_in_use_is_refused(train, tmp_path):
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained/notes.txt").touch()
    outcome = train()
    assert outcome.status == 2
    assert "--output: " in outcome.err
    assert "trained: is not empty; choose another folder, or continue its run with --resume auto" in outcome.err


@pytest.mark.parametrize("kind", ["gigantic", "broken"])
def test_a_damaged_image_is_one_line(train, data, kind):
    damaged = data / "tile/test/scratch/1.png"
    damaged.write_bytes(damaged_png(kind))
    outcome = train()
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert f"{damaged}: " in outcome.err


def test_a_loss_that_is_not_finite_is_one_line(train, monkeypatch):
    forward = steps.forward

    def spoilt(model, batch):
        output = forward(model, batch)
        output.image_scores = output.image_scores * float("nan")
        output.image_focal_loss = output.image_scores.mean()
        return output

    monkeypatch.setattr(steps, "forward", spoilt)
    outcome = train("--batch-size", 1)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "step 1: the loss is not finite (loss nan, " in outcome.err
    assert ".png" in outcome.err


def test_the_record_names_a_data_set_of_the_hub(train, fbclip, data, model_folder, tmp_path, monkeypatch):
    def load(name, **options):
        return load_anomaly_dataset({"someone/parts": data}.get(name, name), **options)

    monkeypatch.setattr("modeling_fbclip.data.splits.load_anomaly_dataset", load)
    assert train("--epochs", 1).status == 0
    arguments = ["--model", model_folder, "--output", tmp_path / "hub", "--epochs", 1]
    assert fbclip("train", "someone/parts", *arguments).status == 0
    records = [json.loads((tmp_path / name / "training_record.json").read_text()) for name in ("trained", "hub")]
    assert [record["data"]["hub_id"] for record in records] == [None, "someone/parts"]
    assert {record["arguments"]["model"] for record in records} == {"model"}


def test_the_layout_option_is_used(fbclip, data, model_folder, tmp_path):
    arguments = ["--model", model_folder, "--output", tmp_path / "out", "--epochs", 1, "--synthetic"]
    outcome = fbclip("train", data / "tile/test/good", *arguments, "--layout", "good-only")
    assert outcome.status == 0, outcome.err
    assert json.loads((tmp_path / "out/training_record.json").read_text())["data"]["normal"] == 2


def test_white_level_auto_and_the_limit_of_megapixels_stay_with_the_model(fbclip, model_folder, tmp_path):
    for index, name in enumerate(("good", "good", "bad", "bad")):
        pixels = np.random.default_rng(index).integers(0, 4096, (12, 20)).astype(np.uint16)
        (tmp_path / "parts" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "parts" / name / f"{index}.png")
    options = ("--model", model_folder, "--white-level", "auto", "--max-megapixels", 3, "--output")
    outcome = fbclip("train", tmp_path / "parts", "--batch-size", 2, *options, tmp_path / "trained")
    assert outcome.status == 0
    assert outcome.err.startswith("white level: 4095 (12 bits); the largest value of the first 4 images is 4")
    calibrated = fbclip("calibrate", tmp_path / "parts", "--target-fpr", 0.4, *options, tmp_path / "calibrated")
    assert calibrated.status == 0
    for folder in ("trained", "calibrated"):
        processor = FBCLIPProcessor.from_pretrained(tmp_path / folder)
        assert (processor.white_level, processor.max_megapixels) == (4095, 3)
    for command in (
        ("evaluate", tmp_path / "parts", "--model", model_folder),
        ("datasets", "check", tmp_path / "parts"),
    ):
        outcome = fbclip(*command, "--white-level", "auto")
        assert outcome.status == 0
        assert outcome.err.startswith("white level: 4095 (12 bits)")
        refused = fbclip(*command, "--white-level", 0.5)
        assert refused.status == 2
        assert "'0.5' is neither a number from 1 on, such as 4095, nor auto" in refused.err
