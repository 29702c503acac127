"""`fbclip detect` past one machine: rows in files, by several processes, resumed after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from functools import reduce
from operator import getitem
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, Image, Value, load_dataset
from PIL import Image as PILImage
from safetensors.torch import load_file, save_file

from modeling_fbclip.detection.detector import Detector


def rows_in(folder):
    """The rows of all files, by their places in the order of a single process."""
    lines = [line for file in sorted(Path(folder).glob("rows-*.jsonl")) for line in file.read_text().splitlines()]
    rows = sorted(map(json.loads, lines), key=lambda row: (row["shard"], row["index"]))
    for row in rows:  # pictures lie in the folder of their run
        row |= {kind: row[kind] and str(Path(row[kind]).relative_to(folder)) for kind in ("overlay", "map")}
    return rows


def pictures_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*.png")}


@pytest.fixture
def parts(detect, save_photograph):  # noqa: ARG001  `detect` changes to an empty folder
    """Ten images, two of them in a folder of their own, and a file that is none."""
    for index in range(8):
        save_photograph(f"parts/{index}.png", seed=index)
    for index in range(2):
        save_photograph(f"parts/deeper/{index}.png", width=30, seed=10 + index)
    Path("parts/5b.png").write_text("no image")
    return Path("parts")


@pytest.fixture
def calls(monkeypatch):
    """How many images the model had at once, each time."""
    counts = []
    run = Detector.run_batch

    def count(self, inputs, *arguments, **settings):
        counts.append(len(inputs))
        return run(self, inputs, *arguments, **settings)

    monkeypatch.setattr(Detector, "run_batch", count)
    return counts


def test_two_launched_processes_write_the_rows_of_one(detect, parts, model_folder):
    arguments = [parts, "--recursive", "--batch-size", 2]
    one = detect(*arguments, "--output", "one", "--format", "jsonl")
    assert (one.status, one.out) == (1, "")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    command += ["-m", "modeling_fbclip.cli", "detect", *arguments, "--model", model_folder, "--output", "two"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    two = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=environment)
    assert two.returncode == 1, two.stderr  # one file is no image
    assert two.stdout == ""
    summary = "11 images, {} anomalous, 1 failed (score from 0.500 on); rows, overlays and maps are in {}"
    anomalous = sum(row["label"] == "anomalous" for row in rows_in("one"))
    assert one.err.strip() == summary.format(anomalous, "one")
    assert two.stderr.count(summary.format(anomalous, "two")) == 1

    files = sorted(path.name for path in Path("two").glob("rows-*.jsonl"))
    assert files == ["rows-00000-of-00002.jsonl", "rows-00001-of-00002.jsonl"]
    assert [len(Path("two", file).read_text().splitlines()) for file in files] == [6, 5]
    assert rows_in("two") == rows_in("one")
    assert [row["index"] for row in rows_in("two")] == list(range(11))
    assert pictures_in("two") == pictures_in("one")


def test_a_resumed_run_ends_with_the_rows_of_an_unbroken_one(detect, parts, model_folder, calls):
    arguments = [parts, "--batch-size", 2, "--format", "jsonl"]
    detect(*arguments, "--output", "whole")
    late = parts / "6.png"
    pixels = late.read_bytes()
    PILImage.new("RGB", (6000, 6000)).save(late)  # keeps the run busy until it is killed
    command = [sys.executable, "-m", "modeling_fbclip.cli", "detect", *arguments]
    command += ["--model", model_folder, "--output", "cut", "--resume"]
    rows = Path("cut/rows-00000-of-00001.jsonl")
    with subprocess.Popen([*map(str, command)]) as process:
        deadline = time.monotonic() + 120
        while not rows.exists() or rows.read_text().count("\n") < 6:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    late.write_bytes(pixels)
    lines = "".join(rows.read_text().splitlines(keepends=True)[:6])
    rows.write_text(lines[:-20])  # the sixth is cut through
    Path("cut/.6.png.map.png-7.partial").write_text("half")

    calls.clear()
    outcome = detect(*arguments, "--output", "cut", "--resume")
    assert outcome.status == 1
    assert calls == [2, 1, 1]  # 5.png and its batch, 6.png without the file that is no image, 7.png
    assert rows.read_text().startswith(lines)
    assert rows_in("cut") == rows_in("whole")
    assert pictures_in("cut") == pictures_in("whole")
    assert not list(Path("cut").glob(".*.partial"))

    calls.clear()
    again = detect(*arguments, "--output", "cut", "--resume")
    assert (again.status, again.err) == (outcome.status, outcome.err)
    assert calls == []
    assert rows_in("cut") == rows_in("whole")


def test_rows_of_any_number_of_processes_count_as_done(detect, parts, calls):
    arguments = [parts, "--batch-size", 2, "--format", "jsonl"]
    detect(*arguments, "--output", "whole")
    whole = Path("whole/rows-00000-of-00001.jsonl")
    lines = whole.read_text().splitlines(keepends=True)
    expected = rows_in("whole")
    whole.unlink()
    # As if three processes had been killed; of the last row of one of them half is there.
    for rank, done in enumerate([[0, 1, 6, 7], [2, 3], [4]]):
        file = Path(f"whole/rows-0000{rank}-of-00003.jsonl")
        file.write_text("".join(lines[index] for index in done) + '{"shard": 0, "ind' * (rank == 2))
    calls.clear()
    assert detect(*arguments, "--output", "whole", "--resume").status == 1
    assert calls == [2, 1]  # 4 and 5, and 8 without the file that is no image
    assert [json.loads(line)["index"] for line in whole.read_text().splitlines()] == [5, 8]
    assert rows_in("whole") == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--threshold", 0.4], "threshold 0.5 is now 0.4"),
        (["--pixel-threshold", 0.4], "pixel_threshold 0.5 is now 0.4"),
        (["--batch-size", 3], "batch_size 2 is now 3"),
        (["--dtype", "bfloat16"], "dtype torch.float32 is now torch.bfloat16"),
        (["--no-maps"], "maps True is now False"),
    ],
)
def test_rows_of_other_settings_are_not_resumed(detect, save_photograph, change, said):
    save_photograph("photo.png")
    arguments = ["photo.png", "--batch-size", 2, "--format", "jsonl"]
    detect(*arguments)
    before = Path("outputs/rows-00000-of-00001.jsonl").read_text()
    refused = detect(*arguments, "--resume", *change)
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "outputs holds rows of other settings (" in refused.err
    assert said in refused.err
    assert Path("outputs/rows-00000-of-00001.jsonl").read_text() == before


def test_rows_of_another_model_or_of_other_images_are_not_resumed(detect, save_photograph, model_folder):
    for name in "bc":
        save_photograph(f"parts/{name}.png")
    detect("parts", "--format", "jsonl")
    save_photograph("parts/a.png")
    refused = detect("parts", "--resume")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "its image 0 was parts/b.png and is parts/a.png now" in refused.err
    Path("parts/a.png").unlink()

    for place, name, value, said in (
        ((), "score", "map_max", "score cls is now map_max"),
        (("image_processor",), "image_mean", [0.5, 0.5, 0.5], "image_mean [0.48"),
    ):
        file = model_folder / "processor_config.json"
        kept = file.read_text()
        settings = json.loads(kept)
        reduce(getitem, place, settings)[name] = value
        file.write_text(json.dumps(settings))
        refused = detect("parts", "--resume")
        assert (refused.status, refused.err.count("\n")) == (2, 1)
        assert f"holds rows of other settings ({said}" in refused.err
        file.write_text(kept)

    weights = load_file(model_folder / "model.safetensors")
    weights["scale_weights"] += 1e-3
    save_file(weights, model_folder / "model.safetensors", metadata={"format": "pt"})
    refused = detect("parts", "--resume")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "holds rows of other settings (weights " in refused.err


def test_rows_are_not_overwritten_without_resume(detect, save_photograph):
    save_photograph("photo.png")
    detect("photo.png", "--format", "jsonl")
    refused = detect("photo.png", "--format", "jsonl")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "outputs holds rows already; choose another folder, or continue with --resume" in refused.err
    assert detect("photo.png").status == 0  # to stdout


def test_parquet_has_the_same_rows_and_can_be_resumed(detect, parts, save_photograph, calls):
    arguments = [parts, "--batch-size", 2]
    detect(*arguments, "--format", "jsonl", "--output", "lines")
    save_photograph("parts/8.png", seed=8)
    detect(*arguments, "--format", "jsonl", "--output", "more")
    Path("parts/8.png").rename("8.png")
    arguments += ["--format", "parquet", "--output", "tables"]
    assert detect(*arguments).status == 1
    assert [path.name for path in Path("tables").glob("rows-*0*")] == ["rows-00000-of-00001.parquet"]

    def assert_equal_rows(folder):
        table = load_dataset("parquet", data_files="tables/*.parquet", split="train", cache_dir="cache").to_list()
        for row in table:
            row |= {kind: row[kind] and str(Path(row[kind]).relative_to("tables")) for kind in ("overlay", "map")}
        assert table == rows_in(folder)

    assert_equal_rows("lines")
    Path("8.png").rename("parts/8.png")
    calls.clear()
    assert detect(*arguments, "--resume").status == 1
    assert calls == [2]
    assert [path.name for path in Path("tables").glob("rows-*0*")] == ["rows-00000-of-00001.parquet"]
    assert_equal_rows("more")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["photo.png", "--resume", "--format", "csv"], "csv is for stdout"),
        (["photo.png", "--data", "parts"], "images or a data set, not both"),
        (["photo.png", "--streaming"], "--streaming"),
        (["photo.png", "--category", "a", "--category", "b"], "are of one category"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        ([], "name images, or a data set by --data"),
    ],
)
def test_arguments_that_do_not_go_together_are_one_line(detect, arguments, said, save_photograph):
    save_photograph("photo.png")
    outcome = detect(*arguments)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert said in outcome.err
    assert not Path("outputs").exists()


def make_dataset(folder, save_photograph):
    """MVTec's layout: five images of two categories."""
    for seed, name in enumerate(["bolt/test/good/0", "bolt/test/good/1", "bolt/test/bent/0"]):
        save_photograph(f"{folder}/{name}.png", seed=seed)
    for seed, name in enumerate(["nut/test/good/0", "nut/test/torn/0"]):
        save_photograph(f"{folder}/{name}.png", seed=5 + seed)
    for name in ("bolt/train/good/0", "nut/train/good/0"):
        save_photograph(f"{folder}/{name}.png", seed=9)
    return folder


def test_a_data_set_gives_the_rows_of_its_images_streamed_or_not(detect, save_photograph):
    make_dataset("sets", save_photograph)
    assert detect("--data", "sets", "--format", "jsonl", "--output", "table").status == 0
    assert detect("--data", "sets", "--streaming", "--format", "jsonl", "--output", "stream").status == 0
    assert detect("--data", "sets", "--category", "nut", "--format", "jsonl", "--output", "nuts").status == 0
    table, stream, nuts = rows_in("table"), rows_in("stream"), rows_in("nuts")
    assert [row["category"] for row in table] == ["bolt"] * 3 + ["nut"] * 2
    assert [(row["shard"], row["index"]) for row in stream] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    for row in [*table, *stream, *nuts]:
        del row["shard"], row["index"]
    assert stream == table
    assert [row["path"] for row in nuts] == [row["path"] for row in table[3:]]
    assert Path("table/bolt/test/bent/0.png.overlay.png").exists()


def test_each_image_in_a_table_has_its_own_name(detect, save_photograph):
    files = [str(save_photograph(f"{seed}.png", seed=seed)) for seed in range(3)]
    features = Features({"image": Image(), "category": Value("string")})
    pixels = [{"bytes": Path(file).read_bytes(), "path": None} for file in files]
    pixels[1] = {"bytes": b"no image", "path": None}
    Dataset.from_dict({"image": pixels, "category": ["x"] * 3}, features=features).save_to_disk("saved")
    outcome = detect("--data", "saved", "--format", "json")
    assert outcome.status == 1
    rows = json.loads(outcome.out)
    assert [row["path"] for row in rows] == ["saved/test[0]", "saved/test[1]", "saved/test[2]"]
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert sorted(pictures_in("outputs")) == [f"test[{i}].{kind}.png" for i in (0, 2) for kind in ("map", "overlay")]


def test_category_thresholds_decide_and_are_overridden(detect, model_folder, save_photograph):
    make_dataset("sets", save_photograph)
    rows = json.loads(detect("--data", "sets", "--format", "json").out)
    settings = json.loads((model_folder / "processor_config.json").read_text())
    own = {"bolt": {"threshold": 0.0, "pixel_threshold": 0.0}, "nut": {"threshold": 1.0, "pixel_threshold": 1.0}}
    (model_folder / "processor_config.json").write_text(json.dumps(settings | {"category_thresholds": own}))

    outcome = detect("--data", "sets", "--format", "json", "--output", "own")
    decided = json.loads(outcome.out)
    assert [row["label"] for row in decided] == ["anomalous"] * 3 + ["normal"] * 2
    assert [row["score"] for row in decided] == pytest.approx([row["score"] for row in rows], abs=1e-6)
    assert "score from the category's threshold on" in outcome.err

    path = rows[0]["path"]
    pictures = {}
    for name in own:
        (row,) = json.loads(detect(path, "--category", name, "--format", "json", "--output", name).out)
        assert row["label"] == ("anomalous" if name == "bolt" else "normal")
        assert row["category"] == name
        pictures[name] = Path(row["overlay"]).read_bytes()
    assert pictures["bolt"] != pictures["nut"]  # the contour
    (row,) = json.loads(detect(path, "--category", "bolt", "--threshold", 1, "--format", "json").out)
    assert row["label"] == "normal"
    assert Path(row["overlay"]).read_bytes() == pictures["bolt"]
    given = json.loads(detect("--data", "sets", "--threshold", 1, "--format", "json").out)
    assert {row["label"] for row in given} == {"normal"}

    del own["nut"]
    (model_folder / "processor_config.json").write_text(json.dumps(settings | {"category_thresholds": own}))
    outcome = detect("--data", "sets", "--format", "json")
    assert "the category's threshold on, that of all images for nut" in outcome.err
    assert [row["label"] for row in json.loads(outcome.out)][:3] == ["anomalous"] * 3


def test_an_unknown_category_is_one_line(detect, model_folder, save_photograph):
    save_photograph("photo.png")
    outcome = detect("photo.png", "--category", "screw")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "no thresholds of the category 'screw'; it has none by category" in outcome.err
    settings = json.loads((model_folder / "processor_config.json").read_text())
    own = {"bolt": {"threshold": 0.1, "pixel_threshold": 0.1}}
    (model_folder / "processor_config.json").write_text(json.dumps(settings | {"category_thresholds": own}))
    assert "'screw'; it has those of 'bolt'" in detect("photo.png", "--category", "screw").err
    own["bolt"]["threshold"] = 2
    (model_folder / "processor_config.json").write_text(json.dumps(settings | {"category_thresholds": own}))
    outcome = detect("photo.png", "--category", "bolt")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "`category_thresholds['bolt']` is 2, but must be between 0 and 1" in outcome.err


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("rows-settings.json", "[]", "outputs/rows-settings.json: holds no JSON object"),
        ("rows-settings.json", "{", "outputs/rows-settings.json: is not readable as JSON"),
        ("rows-00000-of-00001.jsonl", "{}\n", "outputs/rows-00000-of-00001.jsonl: line 1 is damaged; choose another"),
    ],
)
def test_a_damaged_file_is_named(detect, save_photograph, file, content, said):
    save_photograph("photo.png")
    detect("photo.png", "--format", "jsonl")
    Path("outputs", file).write_text(content)
    outcome = detect("photo.png", "--resume")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert said in outcome.err


def test_the_layout_option_is_used(detect, save_photograph):
    for seed in range(2):
        save_photograph(f"parts/{seed}.png", seed=seed)
    outcome = detect("--data", "parts", "--layout", "good-only", "--format", "json")
    assert [row["category"] for row in json.loads(outcome.out)] == ["parts", "parts"]
    outcome = detect("parts", "--layout", "good-only")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "--layout" in outcome.err


@pytest.mark.parametrize("form", ["table", "json", "csv", "jsonl", "parquet"])
def test_an_image_whose_pictures_cannot_be_saved_keeps_its_score(detect, save_photograph, form):
    name = "n" * 246 + ".png"
    save_photograph(name)
    outcome = detect(name, "--format", form)
    assert outcome.status == 1
    assert outcome.err.startswith("1 image, ")
    assert ", 1 failed (" in outcome.err
    if form == "table":
        score, label, *_ = outcome.out.splitlines()[1].split()
        row = {"score": score, "label": label, "error": outcome.out}
    elif form == "csv":
        (row,) = csv.DictReader(outcome.out.splitlines())
    elif form == "json":
        (row,) = json.loads(outcome.out)
    elif form == "jsonl":
        row = json.loads(Path("outputs/rows-00000-of-00001.jsonl").read_text())
    else:
        (row,) = pq.read_table("outputs/rows-00000-of-00001.parquet").to_pylist()
    assert 0 < float(row["score"]) < 1
    assert row["label"] in ("normal", "anomalous")
    assert "cannot be saved in outputs: File name too long" in row["error"]


def test_a_resumed_run_counts_a_picture_that_could_not_be_saved(detect, save_photograph):
    save_photograph("n" * 246 + ".png")
    arguments = ("n" * 246 + ".png", "--format", "jsonl", "--resume")
    first, again = detect(*arguments), detect(*arguments)
    assert (first.status, again.status) == (1, 1)
    assert again.err == first.err
