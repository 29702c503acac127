"""The results of a run: model, log, record and errors."""

import json

import datasets
import numpy as np
import pytest
import torch
from accelerate.tracking import GeneralTracker
from datasets import Dataset
from PIL import Image

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.detection.loading import BUNDLED
from modeling_fbclip.evaluation import evaluate
from modeling_fbclip.training import FBCLIPTrainingArguments, judging, loop, steps, train
from modeling_fbclip.training.log import read_log
from modeling_fbclip.training.record import model_title
from training.conftest import FEATURES, damaged_png, make_parts, trained_weights


def test_a_run_learns_and_saves_a_model_that_loads(run, parts, tmp_path):
    model = run(parts, epochs=4, learning_rate=3e-3)
    log = read_log(tmp_path / "out")
    assert [line["step"] for line in log] == list(range(1, 9))
    assert [line["epoch"] for line in log] == [step / 2 for step in range(1, 9)]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert all(line["loss"] == pytest.approx(sum(line[name] for name in steps.LOSS_PARTS), abs=1e-6) for line in log)
    loaded = FBCLIPModel.from_pretrained(tmp_path / "out")
    assert all(np.array_equal(w, trained_weights(loaded)[name]) for name, w in trained_weights(model).items())
    assert not model.training
    assert FBCLIPProcessor.from_pretrained(tmp_path / "out").image_size == (32, 32)
    assert list((tmp_path / "out").glob(".*")) == []


def test_the_record_says_what_the_model_was_trained_on(run, parts, tmp_path):
    run(parts, epochs=1)
    record = json.loads((tmp_path / "out/training_record.json").read_text())
    assert record["arguments"]["learning_rate"] == 1e-3
    counts = {"images": 6, "normal": 3, "anomalous": 3, "masks": 3, "categories": ["part"]}
    assert record["data"] == counts | {"fingerprint": record["data"]["fingerprint"], "hub_id": None, "held_out": 0}
    assert len(record["image_digests"]) == 6
    assert {"python", "device", "num_processes", "packages"} <= record["environment"].keys()
    expected = {"gradient_accumulation_steps": 1, "gradient_checkpointing": False, "model": None}
    assert expected.items() <= record["arguments"].items()
    assert str(tmp_path) not in json.dumps(record)


def test_the_record_includes_the_images_of_earlier_training(run, parts, tmp_path):
    model = run(parts.select([0, 1, 2]), "first", epochs=1)
    first = json.loads((tmp_path / "first/training_record.json").read_text())
    processor = FBCLIPProcessor.from_config(model.config)
    evaluated = evaluate(model, processor, parts, size=32)
    assert evaluated["training_overlap"] == {"images": 3, "of": 6}
    for name, start in (("second", FBCLIPModel.from_pretrained(tmp_path / "first")), ("third", model)):
        args = FBCLIPTrainingArguments(tmp_path / name, epochs=1)
        train(start, processor, parts.select([2, 3]), args, source="someone/parts")
        record = json.loads((tmp_path / name / "training_record.json").read_text())
        assert record["arguments"]["model"] == "first"
        assert record["data"]["hub_id"] == "someone/parts"
        assert record["data"]["images"] == 2
        assert len(record["image_digests"]) == 4
        assert set(first["image_digests"]) < set(record["image_digests"])
        assert str(tmp_path) not in json.dumps(record)


def test_names_of_models_show_no_paths(tmp_path):
    names = ("", str(BUNDLED), str(tmp_path / "secret/model/"), "../model", "user/model", str(tmp_path))
    expected = [None, "bundled", "model", "model", "user/model", tmp_path.name]
    assert [model_title(name) for name in names] == expected


def test_the_fingerprint_depends_on_pixels_and_not_on_order(run, tmp_path):
    prints = []
    for number, order in enumerate([[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4], [0, 1, 2, 3, 4]]):
        run(make_parts(tmp_path / f"parts-{number}").select(order), f"out-{number}", epochs=1)
        record = json.loads((tmp_path / f"out-{number}/training_record.json").read_text())
        prints.append(record["data"]["fingerprint"])
    assert prints[0] == prints[1] != prints[2]


def test_accumulation_gives_the_step_of_the_whole_batch(run, tmp_path):
    parts = make_parts(tmp_path / "parts", count=7)
    parts = Dataset.from_list(
        [row | {"mask": None if index == 3 else row["mask"]} for index, row in enumerate(parts)], features=FEATURES
    )
    for steps_a_batch in (1, 3):
        run(parts, f"out-{steps_a_batch}", batch_size=5, epochs=2, gradient_accumulation_steps=steps_a_batch)
    for whole, in_parts in zip(read_log(tmp_path / "out-1"), read_log(tmp_path / "out-3"), strict=True):
        assert in_parts == pytest.approx(whole | {"images_per_second": in_parts["images_per_second"]}, abs=1e-6)


def test_images_without_masks_train_only_the_image_score(run, tmp_path):
    run(make_parts(tmp_path / "parts", masks=False), epochs=1)
    for line in read_log(tmp_path / "out"):
        assert line["mask_focal"] == line["dice"] == 0
        assert line["image_focal"] > 0


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_activation_checkpointing_and_bfloat16_stay_near_the_plain_run(run, parts, tmp_path, precision):
    run(parts, "plain", epochs=2)
    model = run(parts, "other", epochs=2, gradient_checkpointing=True, mixed_precision=precision)
    tolerance = 1e-6 if precision == "no" else 0.02
    for plain, other in zip(read_log(tmp_path / "plain"), read_log(tmp_path / "other"), strict=True):
        assert other["loss"] == pytest.approx(plain["loss"], abs=tolerance)
        assert (precision == "no") == (other["loss"] == pytest.approx(plain["loss"], abs=1e-6))  # it ran in bfloat16
    record = json.loads((tmp_path / "other/training_record.json").read_text())
    assert record["arguments"]["mixed_precision"] == precision
    assert model.forward.__func__ is FBCLIPModel.forward  # accelerate's wrapper is gone


def test_loss_arguments_reach_the_loss(run, parts, tmp_path):
    run(parts, "published", epochs=1)
    model = run(parts, "other", epochs=1, focal_gamma=0, dice_weight=0.4, consistency_weight=0)
    published, other = (read_log(tmp_path / name)[0] for name in ("published", "other"))
    assert other["dice"] == pytest.approx(2 * published["dice"], abs=1e-6)
    assert other["consistency"] == 0 < published["consistency"]
    assert other["mask_focal"] > 2 * published["mask_focal"]
    records = [json.loads((tmp_path / name / "training_record.json").read_text()) for name in ("published", "other")]
    assert [record["arguments"]["focal_gamma"] for record in records] == [4, 0]
    assert (model.config.focal_gamma, model.config.dice_weight) == (4, 0.2)  # the model's own, for the next training


def test_schedule_and_warmup_set_the_learning_rate(run, parts, tmp_path):
    run(parts, epochs=2, lr_scheduler="linear", warmup_steps=2, learning_rate=1e-3)
    rates = [line["learning_rate"] for line in read_log(tmp_path / "out")]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 5e-4])


def test_a_loss_that_is_not_finite_stops_and_names_step_and_image(run, parts, tmp_path, monkeypatch):
    forward = steps.forward

    def spoilt(model, batch):
        output = forward(model, batch)
        bad = torch.tensor([path == "parts/4.png" for path in batch["path"]])
        if bad.any() and model.training and len(read_log(tmp_path / "out")) >= 3:
            output.image_scores = torch.where(bad, torch.nan, output.image_scores)
            output.image_focal_loss = output.image_scores.mean()
        return output

    monkeypatch.setattr(steps, "forward", spoilt)
    with pytest.raises(FloatingPointError, match=r"^step [456]: the loss is not finite \(.*\) on parts/4\.png; "):
        run(parts, epochs=3, batch_size=2)


def test_a_validation_loss_that_is_not_finite_stops_and_names_images(run, parts, tmp_path, monkeypatch):
    forward = steps.forward

    def spoilt(model, batch):
        output = forward(model, batch)
        if read_log(tmp_path / "out"):
            output.image_focal_loss = output.image_focal_loss * torch.nan
        return output

    monkeypatch.setattr(judging, "forward", spoilt)
    message = (
        r"^step 1: the loss of judged images is not finite on parts/\d\.png, .*holds the model before training\.$"
    )
    with pytest.raises(FloatingPointError, match=message):
        run(parts, epochs=2, validation_fraction=0.34)


def test_weights_that_are_not_finite_are_not_saved(run, parts, tmp_path, monkeypatch):
    def spoiling(model, *arguments):
        result = training_step(model, *arguments)
        model.scale_weights.data[0] = torch.inf
        return result

    training_step = loop.training_step
    monkeypatch.setattr(loop, "training_step", spoiling)
    with pytest.raises(FloatingPointError, match=r"^step 1: weights are not finite \(scale_weights\); lower "):
        run(parts, validation_fraction=0.34, batch_size=6)
    assert [path.name for path in (tmp_path / "out").glob("checkpoints/step-*")] == ["step-000000000"]
    saved = trained_weights(FBCLIPModel.from_pretrained(tmp_path / "out"))
    assert all(np.array_equal(w, saved[name]) for name, w in trained_weights(make_tiny_model()).items())


def test_rows_without_a_category_can_be_trained_on(run, parts, tmp_path):
    rows = parts.remove_columns("category").add_column("category", ["a", None, "a", None, "b", "b"])
    run(rows, epochs=1, validation_fraction=0.5)
    assert json.loads((tmp_path / "out/training_record.json").read_text())["data"]["categories"] == ["a", "b"]


class ListTracker(GeneralTracker):
    name = "list"
    requires_logging_directory = False

    def __init__(self):
        super().__init__()
        self.values, self.finished = {}, False

    tracker = property(lambda self: self.values)

    def store_init_configuration(self, values):
        self.configuration = values

    def log(self, values, step=None, **_):
        self.values[step] = values

    def finish(self):
        self.finished = True


def test_trackers_get_the_values_of_the_log(run, parts, tmp_path):
    tracker = ListTracker()
    run(parts, epochs=1, report_to=[tracker])
    assert tracker.configuration["epochs"] == "1"
    assert [{"step": step} | values for step, values in tracker.values.items()] == read_log(tmp_path / "out")
    assert tracker.finished


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "`epochs` is 0, but must be a whole number of at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` is 0.0"),
        ({"adam_betas": (0.5, 1.0)}, r"`adam_betas` is \(0\.5, 1\.0\), but must be two numbers of at least 0"),
        ({"lr_scheduler": "sine"}, "`lr_scheduler` is 'sine', but must be one of constant"),
        ({"warmup_steps": 5}, "constant_with_warmup"),
        ({"validation_fraction": 1.0}, "`validation_fraction` is 1.0, but must be at least 0 and less than 1"),
        ({"epochs": 1.5}, "`epochs` is 1.5, but must be a whole number of at least 1"),
        ({"max_grad_norm": float("nan")}, "`max_grad_norm` is nan, but must be greater than 0"),
        ({"synthetic": True, "cache_features": "cache"}, "`cache_features` cannot hold"),
        ({"report_to": ["paper"]}, "'paper'"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        FBCLIPTrainingArguments(tmp_path, **arguments)


def test_fp16_on_a_processor_is_refused(run, parts, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(ArgumentError, match="`mixed_precision` is fp16, which a CPU does not compute in") as error:
        run(parts, mixed_precision="fp16")
    assert error.value.argument == "mixed_precision"
    assert not (tmp_path / "out").exists()


def test_data_without_anything_to_learn_is_refused(run, parts):
    normal = parts.filter(lambda row: row["label"] == 0)
    with pytest.raises(ValueError, match="there is nothing to learn; train with `synthetic`"):
        run(normal)
    with pytest.raises(ValueError, match="no column label"):
        run(parts.remove_columns("label"))
    with pytest.raises(ValueError, match=r"but must be a datasets\.Dataset, not a stream: the number of steps"):
        run(parts.to_iterable_dataset())
    with pytest.raises(ValueError, match="`batch_size` is 2, but 1 processes with 3 accumulation steps"):
        run(parts, batch_size=2, gradient_accumulation_steps=3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no picture", "not an image"),
        (damaged_png("gigantic"), "are more than the limit of 200"),
        (damaged_png("broken"), "the image is damaged or cut off"),
    ],
)
def test_an_image_that_cannot_be_read_is_named_in_a_file_and_in_a_table(run, parts, tmp_path, content, said):
    table = parts.cast_column("image", datasets.Image(decode=False)).to_list()
    table[3]["image"] = {"path": None, "bytes": content}
    with pytest.raises(ValueError, match=rf"^parts/3\.png: .*{said}"):
        run(Dataset.from_list(table, features=FEATURES), "table")
    (tmp_path / "parts/3.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/parts/3\.png: .*{said}"):
        run(parts, "files")


def test_training_after_an_evaluation_can_use_another_precision(tiny_model, parts, tmp_path):
    processor = FBCLIPProcessor.from_config(tiny_model.config)
    evaluate(tiny_model, processor, parts, size=32)
    train(tiny_model, processor, parts, FBCLIPTrainingArguments(tmp_path / "out", epochs=1, mixed_precision="bf16"))
    assert len(read_log(tmp_path / "out")) == 2


def test_half_precision_weights_are_refused(tiny_model, parts, tmp_path):
    with pytest.raises(ValueError, match=r"load it with dtype=torch\.float32"):
        train(
            tiny_model.to(torch.bfloat16),
            FBCLIPProcessor.from_config(tiny_model.config),
            parts,
            FBCLIPTrainingArguments(tmp_path / "out"),
        )


def test_images_in_memory_can_be_trained_on(run):
    rows = {"image": [Image.new("RGB", (20, 20), (90 * i, 9, 9)) for i in range(2)], "label": [0, 1]}
    run(Dataset.from_dict(rows), epochs=1)


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_without_masks_the_score_of_the_processor_is_one_that_was_trained(tmp_path, caplog, fraction):
    model = make_tiny_model()
    processor = FBCLIPProcessor.from_config(model.config)
    processor.score, processor.threshold = "map_max", 0.7
    parts = make_parts(tmp_path / "parts", count=12, masks=False)
    args = FBCLIPTrainingArguments(tmp_path / "out", epochs=1, learning_rate=1e-3, validation_fraction=fraction)
    train(model, processor, parts, args)
    result = json.loads((tmp_path / "out/training_record.json").read_text())["result"]
    saved = FBCLIPProcessor.from_pretrained(tmp_path / "out")
    assert saved.score == result["score"]
    if not fraction:
        assert (result["score"], saved.threshold) == ("cls", 0.5)
        assert "Without masks, the score of an image is now cls in place of map_max" in caplog.text
    else:
        before, after = json.loads((tmp_path / "out/training_record.json").read_text())["epochs"]
        assert (before["score"], after["score"]) == ("map_max", "cls")
        assert saved.score == ("map_max" if before["is_best"] else "cls")
        assert before["is_best"] == (before["value"] >= after["value"])


def test_with_masks_the_score_stays(tmp_path):
    model = make_tiny_model()
    processor = FBCLIPProcessor.from_config(model.config)
    processor.score = "map_max"
    train(model, processor, make_parts(tmp_path / "parts"), FBCLIPTrainingArguments(tmp_path / "out", epochs=1))
    assert FBCLIPProcessor.from_pretrained(tmp_path / "out").score == "map_max"
