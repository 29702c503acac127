"""The start is a candidate: what held-out images choose, and how a run that goes wrong ends."""

import json
from dataclasses import replace

import numpy as np
import pytest

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.common.provenance import recorded_images
from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.training import FBCLIPTrainingArguments, ending, judging, loop, train
from modeling_fbclip.training.judging import Candidate
from modeling_fbclip.training.log import read_log
from training.conftest import make_parts, trained_weights

START = Candidate(0, 0, 1.0, 0.6, 0.4, "cls")


def record_of(folder):
    return json.loads((folder / "training_record.json").read_text())


def is_start(folder):
    saved, start = trained_weights(FBCLIPModel.from_pretrained(folder)), trained_weights(make_tiny_model())
    return all(np.array_equal(weight, start[name]) for name, weight in saved.items())


@pytest.mark.parametrize(
    ("changes", "value"),
    [({}, 0.5), ({"pixel_aupro": None}, 0.6), ({"image_auroc": None}, 0.4)],
)
def test_both_metrics_count_alike(changes, value):
    assert replace(START, **changes).value == pytest.approx(value)


def test_without_metrics_the_loss_counts():
    assert replace(START, image_auroc=None, pixel_aupro=None).value == -1.0


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"loss": 2.1}, "its loss rose from 1 to 2.1"),
        ({"loss": 2.1, "image_auroc": 0.7}, None),
        ({"loss": 1.9}, None),
        ({"spread": 0.01}, "it says nearly the same of every image"),
        ({"spread": 0.03}, None),
        ({"image_auroc": 0.1, "pixel_aupro": 0.1}, "its AUROC and AUPRO fell from 50% to 10%"),
        ({"image_auroc": 0.4, "pixel_aupro": 0.3}, None),
        ({"image_auroc": None, "pixel_aupro": None}, None),
    ],
)
def test_what_shows_that_a_training_has_gone_wrong(changes, fault):
    assert replace(START, **changes).fault(START) == fault


def test_a_fifth_is_held_out_and_the_best_epoch_is_saved(run, tmp_path):
    run(make_parts(tmp_path / "parts", count=30), epochs=3, learning_rate=3e-3)
    record = record_of(tmp_path / "out")
    assert record["data"]["held_out"] == 6
    assert [epoch["epoch"] for epoch in record["epochs"]] == [0, 1, 2, 3]
    values = [epoch["value"] for epoch in record["epochs"]]
    best = [epoch["is_best"] for epoch in record["epochs"]]
    assert best.index(True) == values.index(max(values)) == record["result"]["epoch"]
    assert sum(best) == 1
    lines = [line for line in read_log(tmp_path / "out") if "validation_loss" in line]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert [line["pixel_aupro"] for line in lines] == [epoch["pixel_aupro"] for epoch in record["epochs"]]
    assert "epoch" in (tmp_path / "out/training_report.html").read_text()


def test_the_start_is_saved_where_no_epoch_is_better(run, tmp_path, monkeypatch):
    values = iter([0.9, 0.8, 0.9])
    monkeypatch.setattr(loop, "judge", lambda *args: Candidate(*args[5:], 1.0, next(values), None, "cls"))
    run(make_parts(tmp_path / "parts", count=24), epochs=2)
    assert record_of(tmp_path / "out")["result"]["epoch"] == 0
    assert is_start(tmp_path / "out")


def test_a_hub_that_does_not_answer_at_the_end_leaves_the_starts_thresholds(run, tmp_path, monkeypatch):
    def silent(*_):
        raise OSError("the Hub does not answer")

    values = iter([0.9, 0.8])
    monkeypatch.setattr(loop, "judge", lambda *args: Candidate(*args[5:], 1.0, next(values), None, "cls"))
    monkeypatch.setattr(ending, "find_beside", silent)
    run(make_parts(tmp_path / "parts", count=60), epochs=1)
    assert record_of(tmp_path / "out")["result"]["epoch"] == 0
    assert FBCLIPProcessor.from_pretrained(tmp_path / "out").threshold == 0.5


def test_few_images_take_the_last_epoch(run, parts, tmp_path):
    run(parts, epochs=2)
    record = record_of(tmp_path / "out")
    assert (record["epochs"], record["data"]["held_out"], record["result"]["epoch"]) == ([], 0, 2)
    assert not is_start(tmp_path / "out")


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("rate", [1.0, 1e6])
@pytest.mark.parametrize("count", [6, 24])
def test_a_rate_that_ruins_the_model_keeps_the_start(run, tmp_path, rate, precision, count):
    parts = make_parts(tmp_path / "parts", count=count)
    with pytest.raises(FloatingPointError, match=r"^step \d+: .*; lower `learning_rate`, which is 1.*out holds "):
        run(parts, epochs=4, learning_rate=rate, mixed_precision=precision)
    assert is_start(tmp_path / "out")
    assert record_of(tmp_path / "out")["result"]["epoch"] == 0
    assert FBCLIPProcessor.from_pretrained(tmp_path / "out").threshold == 0.5


def test_references_of_the_start_are_measured_and_stay_with_it(tmp_path, monkeypatch):
    parts = make_parts(tmp_path / "parts", count=24)
    for name, values in (("kept", [0.9, 0.8]), ("trained", [0.8, 0.9])):
        model = make_tiny_model()
        processor = FBCLIPProcessor.from_config(model.config)
        references = FBCLIPReferences.from_images(model, processor, [parts[index]["image"] for index in (0, 2)])
        found = iter(values)
        monkeypatch.setattr(loop, "judge", lambda *args: Candidate(*args[5:], 1.0, next(found), None, "cls"))  # noqa: B023
        args = FBCLIPTrainingArguments(tmp_path / name, epochs=1, learning_rate=1e-3)
        train(model, processor, parts, args, references=references)
        compared = record_of(tmp_path / name)["references"]
        assert compared["measured on"] == "4 held-out images"
        assert ("trained, without" in compared) == (name == "trained")
        assert compared["with"] != compared["without"]
        assert all(0 <= value <= 1 for value in (*compared["with"].values(), *compared["without"].values()))
        assert (tmp_path / name / "references.safetensors").exists() == (name == "kept")


def test_references_of_an_earlier_end_do_not_stay_with_other_weights(tmp_path, monkeypatch):
    parts = make_parts(tmp_path / "parts", count=24)
    for epochs, found in ((1, [0.9, 0.8]), (2, [1.0])):
        model, values = make_tiny_model(), iter(found)
        processor = FBCLIPProcessor.from_config(model.config)
        references = FBCLIPReferences.from_images(model, processor, [parts[0]["image"], parts[2]["image"]])
        monkeypatch.setattr(loop, "judge", lambda *args: Candidate(*args[5:], 1.0, next(values), None, "cls"))  # noqa: B023
        args = FBCLIPTrainingArguments(tmp_path / "out", epochs=epochs, learning_rate=1e-3, resume="auto")
        train(model, processor, parts, args, references=references)
        assert (tmp_path / "out/references.safetensors").exists() == (epochs == 1)
    load_detector(str(tmp_path / "out"))


def test_categories_count_alike():
    scores = {("a", 0): 0.1, ("a", 1): 0.2, ("b", 0): 0.8, ("b", 1): 0.9}
    seen = [judging.Seen(name, label, score, 1.0, None, None) for (name, label), score in scores.items()]
    assert judging.auroc(seen) == 0.75
    assert judging.over_categories(seen, judging.auroc) == 1.0
    assert judging.over_categories(seen[:1], judging.auroc) is None


def test_thresholds_come_from_the_good_ones_among_the_held_out(run, tmp_path):
    parts = make_parts(tmp_path / "parts", count=60)
    model = run(parts, epochs=1, learning_rate=3e-3)
    record = record_of(tmp_path / "out")
    processor = FBCLIPProcessor.from_pretrained(tmp_path / "out")
    assert record["result"]["thresholds"]["images"] == 6
    assert record["result"]["thresholds"]["target_fpr"] == pytest.approx(1 / 7)
    assert processor.thresholds_mode == processor.mode((32, 32))
    assert 0 < processor.threshold != record["result"]["threshold"]
    assert len(recorded_images(model, "calibration_record.json")) == 6


def test_the_settings_of_a_run_say_where_they_come_from(run, parts, tmp_path):
    run(parts, epochs=1, learning_rate=1e-3)
    origins = record_of(tmp_path / "out")["origins"]
    assert (origins["learning_rate"], origins["lr_scheduler"]) == ("given", "default")
