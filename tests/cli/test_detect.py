"""`fbclip detect`: its rows, its pictures, and that one bad file costs no more than its own row."""

import csv
import gc
import io
import json
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, ZeroShotAnomalyDetectionPipeline
from modeling_fbclip.common.own_results import MARKER
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.rendering import render_overlay
from modeling_fbclip.detection.threads import THREADS


def rows_of(outcome):
    return json.loads(outcome.out)


def files_in(folder):
    files = (path for path in Path(folder).rglob("*") if path.is_file() and path.name != MARKER)
    return sorted(str(path.relative_to(folder)) for path in files)


def test_the_three_formats_have_the_same_rows(detect, save_photograph):
    save_photograph("parts/good, bad.png", seed=1)
    save_photograph("parts/other.png", seed=2)
    Path("parts/text.png").write_text("no image")
    json_run, csv_run, table_run = (detect("parts", "--format", form) for form in ("json", "csv", "table"))
    assert [run.status for run in (json_run, csv_run, table_run)] == [1, 1, 1]

    rows = rows_of(json_run)
    assert [row["path"] for row in rows] == ["parts/good, bad.png", "parts/other.png", "parts/text.png"]
    assert list(rows[0]) == ["path", "score", "label", "error", "overlay", "map", "category", "regions"]
    from_csv = list(csv.DictReader(io.StringIO(csv_run.out)))
    for cells, row in zip(from_csv, rows, strict=True):
        plain = {k: "" if v is None else str(v) for k, v in row.items() if k != "regions"}
        assert {name: cells[name] for name in plain} == plain

    header, *lines = table_run.out.splitlines()
    assert header.split() == ["score", "label", "image", "→", "overlay"]
    for line, row in zip(lines, rows, strict=True):
        score, label, path, result = re.fullmatch(r" *(\S+)  (\w+) +(.*) → (.*)", line).groups()
        assert path == row["path"]
        if row["error"]:
            assert (score, label, result) == ("-", "error", row["error"])
        else:
            assert (score, label, result) == (f"{row['score']:.3f}", row["label"], row["overlay"])


def test_pictures_show_the_pipelines_map_at_the_images_own_size(detect, model_folder, save_photograph):
    image_path = save_photograph("photo.png", width=37, height=23)
    (row,) = rows_of(detect(image_path, "--format", "json", "--pixel-threshold", 0.45))
    pipeline = ZeroShotAnomalyDetectionPipeline(
        model=FBCLIPModel.from_pretrained(model_folder), processor=FBCLIPProcessor.from_pretrained(model_folder)
    )
    expected = pipeline(image_path, pixel_threshold=0.45)
    assert row["score"] == pytest.approx(expected["score"], abs=1e-6)
    with Image.open(row["map"]) as stored:
        assert (stored.mode, stored.size) == ("I;16", (37, 23))
        assert np.abs(np.asarray(stored) / 65535 - expected["anomaly_map"].numpy()).max() < 2e-5
    with Image.open(row["overlay"]) as stored, Image.open(image_path) as image:
        assert (stored.mode, stored.size) == ("RGB", (37, 23))
        overlay = render_overlay(image, expected["anomaly_map"], expected["mask"])
        assert np.abs(np.asarray(stored).astype(int) - np.asarray(overlay)).max() <= 1


def test_a_photograph_without_an_anomaly_is_not_tinted(detect, monkeypatch, save_photograph):
    save_photograph("photo.png", width=8, height=8)
    flat = np.zeros((8, 8), dtype=np.float32)
    result = {"score": 0.0, "label": "normal", "anomaly_map": flat, "mask": flat > 0.5, "regions": []}
    monkeypatch.setattr(Detector, "finish", lambda *_: result)
    (row,) = rows_of(detect("photo.png", "--format", "json"))
    assert Image.open(row["overlay"]).tobytes() == Image.open("photo.png").tobytes()


def test_thresholds_decide_label_and_contour_but_not_the_score(detect, save_photograph):
    save_photograph("photo.png")
    (low,) = rows_of(detect("photo.png", "--format", "json", "--threshold", 0, "--pixel-threshold", 1))
    without_contour = Image.open(low["overlay"]).tobytes()
    (high,) = rows_of(detect("photo.png", "--format", "json", "--threshold", 1, "--pixel-threshold", 0))
    assert (low["label"], high["label"]) == ("anomalous", "normal")
    assert low["score"] == high["score"]
    assert Image.open(high["overlay"]).tobytes() != without_contour


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_bad_files_among_good_ones_become_rows(detect, batch_size, save_photograph):
    for seed, name in enumerate("acdf"):
        save_photograph(Path(f"parts/{name}.png"), seed=seed)
    Path("parts/b.jpg").write_bytes(b"not an image")
    Path("parts/e.png").write_bytes(Path("parts/a.png").read_bytes()[:200])
    Path("parts/g.png").touch()
    outcome = detect("parts", "--format", "json", "--threshold", 0, "--batch-size", batch_size)
    assert outcome.status == 1
    rows = rows_of(outcome)
    assert [Path(row["path"]).stem for row in rows] == list("abcdefg")
    for row in rows:
        failed = Path(row["path"]).stem in "beg"
        assert [row[key] is None for key in ("error", "score", "label", "overlay", "map")] == [
            not failed,
            *[failed] * 4,
        ]
    assert "not an image" in rows[1]["error"]
    assert "parts" not in rows[1]["error"]  # the row names the file already
    assert len(files_in("outputs")) == 8
    summary = "7 images, 4 anomalous, 3 failed (score from 0.000 on); overlays and maps are in outputs"
    assert outcome.err.strip() == summary


def test_an_image_that_the_model_refuses_is_an_error_of_its_own(detect, monkeypatch, save_photograph):
    for seed, name in enumerate("abc"):
        save_photograph(Path(f"{name}.png"), width=10 + seed)
    prepare = Detector.prepare

    def refuse_one(self, image):
        if image.width == 11:
            raise ValueError("too odd")
        return prepare(self, image)

    monkeypatch.setattr(Detector, "prepare", refuse_one)
    outcome = detect("a.png", "b.png", "c.png", "--format", "json")
    assert outcome.status == 1
    assert [row["error"] for row in rows_of(outcome)] == [None, "too odd", None]


def test_results_that_cannot_be_saved_are_reported_and_leave_nothing(detect, monkeypatch, save_photograph):
    save_photograph("photo.png")

    def fill_the_disk(_image, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    outcome = detect("photo.png", "--format", "json")
    assert outcome.status == 1
    assert "No space left on device" in rows_of(outcome)[0]["error"]
    assert files_in("outputs") == []


def test_an_interrupt_leaves_no_half_written_file_and_a_whole_json(detect, monkeypatch, save_photograph):
    for name in "ab":
        save_photograph(Path(f"{name}.png"))
    save = Image.Image.save

    def interrupt_at_the_second(image, path, **kwargs):
        save(image, path, **kwargs)
        if len(files_in("outputs")) > 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupt_at_the_second)
    outcome = detect("a.png", "b.png", "--format", "json", "--batch-size", 1)
    assert outcome.status == 130
    assert [row["path"] for row in rows_of(outcome)] == ["a.png"]
    assert files_in("outputs") == ["a.png.map.png", "a.png.overlay.png"]
    assert "Traceback" not in outcome.err


def test_only_a_few_maps_are_in_memory(detect, monkeypatch, save_photograph):
    count = 40
    for index in range(count):
        save_photograph(Path(f"parts/{index}.png"))
    held, maps = [], []
    finish = Detector.finish

    def watch(self, *arguments):
        gc.collect()
        held.append(sum(reference() is not None for reference in maps))
        result = finish(self, *arguments)
        maps.append(weakref.ref(result["anomaly_map"]))
        return result

    monkeypatch.setattr(Detector, "finish", watch)
    assert detect("parts", "--batch-size", 2).status == 0
    assert len(maps) == count
    assert max(held) <= THREADS


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_scores_are_close_to_float32(detect, dtype, save_photograph):
    save_photograph("photo.png")
    wide, narrow = (
        rows_of(detect("photo.png", "--format", "json", "--dtype", name))[0]["score"] for name in ("float32", dtype)
    )
    assert narrow == pytest.approx(wide, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["*.jpg"], "*.jpg: no such file or folder, and no image matches it"),
        (["empty"], "empty: no image in it (--recursive looks deeper)"),
        (["empty", "--recursive"], "empty: no image in it or the folders in it"),
        ([""], "an empty path names no image"),
        (["w*/../*.png"], "'..' after a wildcard"),
        (["photo.png", "nowhere"], "nowhere: no such file or folder"),
        (["photo.png", "--output", "photo.png"], "photo.png"),
        (["photo.png", "--output", "photo.png/deeper"], "photo.png/deeper: Not a directory"),
        (["photo.png", "--format", "xml"], "'xml' is not one of"),
        (["photo.png", "--batch-size", "0"], "--batch-size"),
        (["photo.png", "--threshold", "1.5"], "--threshold"),
        (["photo.png", "--pixel-threshold", "high"], "--pixel-threshold"),
        (["photo.png", "--dtype", "int8"], "--dtype"),
        (["photo.png", "--device", "abacus"], "abacus is not usable here"),
        (["photo.png", "--no-such-option"], "--no-such-option"),
        ([], "PATH"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_status_2(detect, arguments, said, save_photograph):
    save_photograph("photo.png")
    Path("empty").mkdir()
    outcome = detect(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert said in outcome.err
    assert outcome.err.startswith("fbclip: ")
    assert outcome.err.count("\n") == 1
    assert files_in(".") == ["photo.png"]


def break_config(folder):
    (folder / "config.json").write_text("{")


def name_another_model(folder):
    (folder / "config.json").write_text('{"model_type": "clip"}')


def truncate_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def lose_the_config(folder):
    (folder / "config.json").unlink()


def lose_a_weight(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["scale_weights"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (break_config, "not a valid JSON file"),
        (name_another_model, "holds a 'clip' model"),
        (truncate_weights, "cannot be loaded"),
        (lose_a_weight, "it lacks scale_weights"),
        (lose_the_config, "it holds no config.json; pass the folder that a model was saved to"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_one_line(detect, model_folder, damage, said, save_photograph):
    save_photograph("photo.png")
    damage(model_folder)
    outcome = detect("photo.png")
    assert (outcome.status, outcome.out) == (2, "")
    assert str(model_folder) in outcome.err
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert files_in(".") == ["photo.png"]


def test_a_file_and_an_empty_name_are_no_models(fbclip, tmp_path, save_photograph):
    photo = save_photograph(tmp_path / "photo.png")
    for name, said in ((photo, f"{photo} cannot be loaded: it is a file"), ("", "'' cannot be loaded: an empty name")):
        outcome = fbclip("detect", photo, "--model", name)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        assert f"Invalid value for --model: {said}" in outcome.err


def test_an_unknown_model_is_named(fbclip, tmp_path, save_photograph):
    outcome = fbclip("detect", save_photograph(tmp_path / "photo.png"), "--model", tmp_path / "typo")
    assert (outcome.status, outcome.out) == (2, "")
    assert "typo: no such folder" in outcome.err
    assert outcome.err.count("\n") == 1


def test_white_level_reads_12_bits_as_the_8_bit_picture(detect, model_folder):
    grey = np.random.default_rng(0).integers(0, 256, (24, 40)).astype(np.uint16)
    Image.fromarray(grey.astype(np.uint8)).save("8.png")
    Image.fromarray(grey * 16).save("12.png")
    score = {name: rows_of(detect(name, "--format", "json"))[0]["score"] for name in ("8.png", "12.png")}
    (row,) = rows_of(detect("12.png", "--format", "json", "--white-level", 255 * 16))
    assert row["score"] == pytest.approx(score["8.png"], abs=1e-4)
    assert abs(score["12.png"] - score["8.png"]) > 1e-3
    settings = json.loads((model_folder / "processor_config.json").read_text())
    (model_folder / "processor_config.json").write_text(json.dumps(settings | {"white_level": 255 * 16}))
    assert rows_of(detect("12.png", "--format", "json"))[0]["score"] == row["score"]
    assert detect("12.png", "--white-level", 0).status == 2


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["photo.png", "--split", "test"], "--split"),
        (["photo.png", "--streaming"], "--streaming"),
        (["--data", "parts", "--recursive"], "--recursive"),
    ],
)
def test_an_option_without_effect_is_refused(detect, save_photograph, arguments, option):
    save_photograph("photo.png")
    outcome = detect(*arguments)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(f"fbclip: Invalid value for {option}: ")


def test_the_score_option_chooses_the_kind(detect, save_photograph):
    save_photograph("photo.png")
    scores = {}
    for kind in ("cls", "map_max", "map_top1"):
        (row,) = json.loads(detect("photo.png", "--score", kind, "--format", "json").out)
        scores[kind] = row["score"]
    assert scores["cls"] != scores["map_max"] >= scores["map_top1"]


def test_an_output_folder_that_refuses_files_is_found_before_the_model_is_loaded(detect, save_photograph, monkeypatch):
    save_photograph("photo.png")
    monkeypatch.setattr("modeling_fbclip.detection.loading.load_detector", None)
    outcome = detect("photo.png", "--output", "/proc/found")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith("fbclip: Invalid value for --output: /proc/found: ")
