"""`evaluate`: the numbers of the paper's protocol, with any order, batch size and number of processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter

from modeling_fbclip import FBCLIPModel
from modeling_fbclip.common.provenance import CONVERSION_RECORD, TRAINING_RECORD
from modeling_fbclip.digests_fbclip import image_digest
from modeling_fbclip.evaluation import compute_metrics, evaluate
from modeling_fbclip.evaluation.metrics import METRIC_NAMES, mean_metrics

from .conftest import make_dataset, make_row

SIZE = (60, 64)


def assert_same_numbers(report, expected, tolerance=1e-5):  # a rank may change with the last bit of a map
    assert list(report["categories"]) == list(expected["categories"])
    assert report["counts"] == expected["counts"]
    for name, metrics in [*expected["categories"].items(), ("mean", expected["mean"])]:
        found = report["mean"] if name == "mean" else report["categories"][name]
        assert found == pytest.approx(metrics, abs=tolerance), name


def by_hand(model, processor, rows):
    """The protocol step by step, one image at a time."""
    maps, masks, scores = [], [], []
    for row in rows:
        with torch.no_grad():
            outputs = model(processor(images=row["image"])["pixel_values"])
        upsampled = F.interpolate(outputs.anomaly_maps[None], SIZE, mode="bilinear", align_corners=False)[0, 0]
        sigma = processor.smoothing_sigma * SIZE[0] / processor.image_size[0]  # the same width on the picture
        maps.append(gaussian_filter(upsampled.numpy(), sigma))
        mask = Image.new("F", row["image"].size) if row["mask"] is None else row["mask"].convert("F")
        binary = Image.fromarray((np.asarray(mask) > 0).astype(np.float32))
        masks.append(np.asarray(binary.resize(SIZE[::-1], Image.Resampling.BILINEAR)) > 0.5)
        scores.append(outputs.image_scores.item())
    return compute_metrics(maps, masks, scores, [row["label"] for row in rows])


def test_numbers_are_those_of_the_protocol_done_by_hand(model, processor, dataset):
    report = evaluate(model, processor, dataset, size=SIZE)
    expected = {name: by_hand(model, processor, [r for r in dataset if r["category"] == name]) for name in "ab"}
    for name, metrics in expected.items():
        assert report["categories"][name] == pytest.approx(metrics, abs=1e-4), name
    assert report["mean"] == pytest.approx(mean_metrics(expected.values()), abs=1e-4)
    assert report["counts"]["a"] == {"images": 7, "normal": 5, "anomalous": 2, "anomalous_without_mask": 0}
    assert report["settings"]["size"] == list(SIZE)
    assert report["settings"]["smoothing_sigma"] == 4.0 * SIZE[0] / processor.image_size[0]
    json.dumps(report, allow_nan=False)


def test_the_default_size_is_the_papers_and_not_the_models(model, processor):
    small = make_dataset(make_row(index, "a", index % 2) for index in range(2))
    assert evaluate(model, processor, small)["settings"]["size"] == [518, 518]


def test_batches_and_order_do_not_change_the_numbers(model, processor, dataset):
    report = evaluate(model, processor, dataset, size=SIZE)
    calls = []
    other = evaluate(model, processor, dataset, size=SIZE, batch_size=3, on_image=lambda: calls.append(1))
    assert_same_numbers(other, report)
    assert len(calls) == len(dataset)
    shuffled = dataset.select([0, 1, *range(12, 1, -1)])
    assert_same_numbers(evaluate(model, processor, shuffled, size=SIZE), report)


def test_a_sorted_stream_gives_the_same_and_an_unsorted_one_is_refused(model, processor, dataset):
    report = evaluate(model, processor, dataset, size=SIZE)
    stream = dataset.select([*range(0, 13, 2), *range(1, 13, 2)]).to_iterable_dataset()
    assert_same_numbers(evaluate(model, processor, stream, size=SIZE), report)
    in_shards = dataset.sort("category").to_iterable_dataset(num_shards=3)
    assert_same_numbers(evaluate(model, processor, in_shards, size=SIZE, num_workers=2), report)
    with pytest.raises(ValueError, match=r"'a' comes back after another; sort the stream"):
        evaluate(model, processor, dataset.to_iterable_dataset(), size=SIZE)


def test_optional_columns_may_be_missing(model, processor, dataset):
    report = evaluate(model, processor, dataset.remove_columns(["mask", "category", "path"]), size=SIZE)
    assert list(report["categories"]) == ["all"]
    assert 0 <= report["mean"]["image_auroc"] <= 1
    assert all(report["mean"][name] is None for name in METRIC_NAMES if name.startswith("pixel"))
    assert report["counts"]["all"]["anomalous_without_mask"] == 4


def test_a_category_of_one_class_is_left_out_of_the_mean(model, processor, dataset):
    rows = [*dataset, *(make_row(index, "good", 0) for index in range(20, 22))]
    report = evaluate(model, processor, make_dataset(rows), size=SIZE)
    assert report["categories"]["good"] == dict.fromkeys(METRIC_NAMES)
    assert report["mean"] == pytest.approx(evaluate(model, processor, dataset, size=SIZE)["mean"], abs=1e-6)


def test_pixels_of_an_anomalous_image_without_mask_do_not_count_as_normal(model, processor):
    masked = [make_row(index, "a", index % 2) for index in range(6)]
    unknown = make_row(7, "a", 1, with_mask=False)
    report = evaluate(model, processor, make_dataset([*masked, unknown]), size=SIZE)
    expected = evaluate(model, processor, make_dataset(masked), size=SIZE)
    for name in METRIC_NAMES:
        if name.startswith("pixel"):
            assert report["mean"][name] == pytest.approx(expected["mean"][name]), name
    assert report["counts"]["a"] == {"images": 7, "normal": 3, "anomalous": 4, "anomalous_without_mask": 1}


def test_trained_images_are_reported(model, processor, dataset, tmp_path, caplog):
    model.save_pretrained(tmp_path)
    trained = [image_digest(dataset[index]["image"]) for index in (2, 5)]
    (tmp_path / TRAINING_RECORD).write_text(json.dumps({"image_digests": [*trained, "0" * 32]}))
    report = evaluate(FBCLIPModel.from_pretrained(tmp_path), processor, dataset, size=SIZE)
    assert report["training_overlap"] == {"images": 2, "of": 13}
    assert "NOT ZERO-SHOT: the model was trained on 2 of the 13 images" in caplog.text
    assert evaluate(model, processor, dataset, size=SIZE)["training_overlap"] is None
    (tmp_path / TRAINING_RECORD).write_text("[]")
    with pytest.raises(ValueError, match=TRAINING_RECORD):
        evaluate(FBCLIPModel.from_pretrained(tmp_path), processor, dataset, size=SIZE)


@pytest.mark.parametrize(
    ("trained_on", "categories", "warns"),
    [
        ("visa", ["candle", "pcb1"], True),
        ("visa", ["candle", "bottle"], False),
        ("visa", ["bottle", "cable"], False),
        ("mvtec-ad", ["bottle", "cable"], True),
        (None, ["bottle", "cable"], False),
    ],
)
def test_a_converted_model_warns_on_the_set_that_it_was_trained_on(
    model, processor, tmp_path, caplog, trained_on, categories, warns
):
    model.save_pretrained(tmp_path)
    record = {"file": "released.pth", "sha256": "0" * 64, "trained_on": trained_on}
    (tmp_path / CONVERSION_RECORD).write_text(json.dumps(record))
    rows = make_dataset(make_row(index, name, index % 2) for index in range(2) for name in categories)
    evaluate(FBCLIPModel.from_pretrained(tmp_path), processor, rows, size=SIZE)
    title = {"visa": "VisA", "mvtec-ad": "MVTec AD"}.get(trained_on)
    said = f"NOT ZERO-SHOT: these weights were trained on {title}, which has these categories."
    assert (said in caplog.text) == ("NOT ZERO-SHOT" in caplog.text) == warns


def test_training_overlap_is_unknown_if_the_record_cannot_be_looked_up(model, processor, dataset, tmp_path, caplog):
    model.save_pretrained(tmp_path)
    loaded = FBCLIPModel.from_pretrained(tmp_path)
    loaded.loaded_from = {"name": "someone/parts", "local_files_only": True, "cache_dir": tmp_path}
    report = evaluate(loaded, processor, dataset, size=SIZE)
    (reason,) = report["training_overlap"].values()
    assert report["training_overlap"] == {"unknown": reason}
    assert reason.startswith(f"someone/parts: {TRAINING_RECORD} cannot be looked up: ")
    assert f"It is unknown which images the model was trained on. {reason}" in caplog.messages


def test_figures_of_each_category_and_its_errors(model, processor, dataset, tmp_path):
    evaluate(model, processor, dataset, size=SIZE, plots=tmp_path / "plots")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names >= {f"{name}.{kind}.png" for name in "ab" for kind in ("roc", "pro", "scores", "miss-1", "alarm-1")}
    with Image.open(tmp_path / "plots/a.miss-1.png") as overlay:
        assert overlay.size == (56, 40)
    scores = {
        row["path"]: model(processor(images=row["image"])["pixel_values"]).image_scores.item()
        for row in dataset
        if row["category"] == "a" and row["label"]
    }
    worst = next(row for row in dataset if row["path"] == min(scores, key=scores.get))
    with Image.open(tmp_path / "plots/a.miss-1.png") as overlay:
        difference = np.asarray(overlay, dtype=float) - np.asarray(worst["image"]) / 2
    # An overlay is half photograph and half colour, except for the outline.
    assert np.mean((difference >= -1) & (difference <= 128.5)) > 0.9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.remove_columns("label"), "lacks label"),
        (lambda d: d.select([]), "holds no image"),
        (lambda d: d.map(lambda row: {"label": 2 * row["label"]}), r"a/4.png: the label is 2, but must be 0"),
    ],
)
def test_wrong_data_is_named_in_the_error(model, processor, dataset, change, said):
    with pytest.raises(ValueError, match=said):
        evaluate(model, processor, change(dataset), size=SIZE)


TWO_PROCESSES = """
import json, sys
from datasets import load_from_disk
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.evaluation import evaluate

folder, rank = sys.argv[1:]
rows = load_from_disk(f"{folder}/data")
stream = rows.select([*range(0, 13, 2), *range(1, 13, 2)]).to_iterable_dataset(num_shards=2)
model, processor = FBCLIPModel.from_pretrained(folder), FBCLIPProcessor.from_pretrained(folder)
reports = [
    evaluate(model, processor, rows, size=(60, 64), batch_size=2),
    evaluate(model, processor, stream, size=(60, 64), batch_size=2, num_workers=2),
]
with open(f"{folder}/reports-{rank}.json", "w") as file:
    json.dump(reports, file)
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return str(listener.getsockname()[1])


def test_two_processes_give_the_numbers_of_one(model, processor, dataset, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    dataset.save_to_disk(tmp_path / "data")
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": free_port(), "ACCELERATE_USE_CPU": "true"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, tmp_path, str(rank)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    reports = [json.loads(Path(tmp_path, f"reports-{rank}.json").read_text()) for rank in range(2)]
    assert reports[0] == reports[1]
    for report in reports[0]:
        assert_same_numbers(report, evaluate(model, processor, dataset, size=SIZE, batch_size=2))


def test_a_damaged_image_in_a_table_is_named(model, processor, dataset):
    row = dataset.cast_column("image", datasets.Image(decode=False))[3]
    for part in (0, 100):
        damaged = {**row, "image": {"path": None, "bytes": row["image"]["bytes"][:part]}}
        with pytest.raises(ValueError, match=r"^b/3\.png: "):
            evaluate(model, processor, make_dataset([damaged]), size=SIZE)
