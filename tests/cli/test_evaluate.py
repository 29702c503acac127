"""`fbclip evaluate`: one report in three forms, figures, and mistakes in one line that leave nothing behind."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.common.provenance import TRAINING_RECORD
from modeling_fbclip.digests_fbclip import image_digest
from modeling_fbclip.evaluation.metrics import METRIC_NAMES


@pytest.fixture
def data(tmp_path, save_photograph, monkeypatch):
    """Two categories in MVTec's layout, one of them without an anomaly, in an empty working folder."""
    root = tmp_path / "data"
    for index in range(3):
        save_photograph(root / f"cap/test/good/{index}.png", seed=index)
        save_photograph(root / f"nut/test/good/{index}.png", seed=10 + index)
        save_photograph(root / f"cap/test/dent/{index}.png", seed=20 + index)
        mask = np.zeros((12, 20), dtype=np.uint8)
        mask[3:8, 4 + index : 12] = 255
        (root / "cap/ground_truth/dent").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(root / f"cap/ground_truth/dent/{index}_mask.png")
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    return root


@pytest.fixture
def evaluate(fbclip, model_folder, data):
    return lambda *arguments, path=data: fbclip("evaluate", path, "--model", model_folder, "--size", 48, *arguments)


def test_the_three_forms_and_the_file_have_the_same_numbers(evaluate):
    as_json = evaluate("--format", "json", "--output", "deep/report.json")
    assert (as_json.status, as_json.err) == (0, "")
    report = json.loads(as_json.out)
    assert json.loads(Path("deep/report.json").read_text()) == report
    assert [path.name for path in Path("deep").iterdir()] == ["report.json"]
    assert list(report["categories"]) == ["cap", "nut"]
    assert report["categories"]["nut"] == dict.fromkeys(METRIC_NAMES)
    assert report["mean"] == report["categories"]["cap"]

    percents = [f"{100 * value:.1f}" if value is not None else "n/a" for value in report["mean"].values()]
    expected = [["cap", "6", *percents], ["nut", "3", *["n/a"] * 9], ["mean", "9", *percents]]
    markdown = evaluate("--format", "markdown").out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown if line.startswith("|")]
    assert cells[0][8:] == ["AUPRO exact", "AUPRO published", "AUPIMO"]
    assert cells[2:] == expected
    table = evaluate().out
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines() if "│" in line]
    assert rows == expected


def test_one_category_and_figures(evaluate):
    outcome = evaluate("--category", "cap", "--format", "json", "--plots", "figures", "--output", "report.json")
    assert outcome.status == 0, outcome.err
    assert list(json.loads(outcome.out)["categories"]) == ["cap"]
    assert {path.name for path in Path("figures").iterdir()} >= {"cap.roc.png", "cap.pro.png", "cap.scores.png"}
    assert sorted(path.name for path in Path().iterdir()) == ["figures", "report.json"]


def test_a_report_to_look_at_has_the_numbers_of_the_table(evaluate):
    outcome = evaluate("--report", "found/report.html", "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    numbers = json.loads(outcome.out)
    assert "pages" not in numbers
    text = Path("found/report.html").read_text(encoding="utf-8")
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", text)[1:]]
    assert [row[0] for row in rows] == ["cap", "nut", "mean"]
    assert rows[0][2] == f"{100 * numbers['categories']['cap']['image_auroc']:.1f}"
    assert [path.name for path in Path("found").iterdir()] == ["report.html"]
    for arguments in (["--report", "found"], ["--report", "a.html", "--mutual"]):
        refused = evaluate(*arguments)
        assert (refused.status, refused.err.count("\n"), "--report" in refused.err) == (2, 1, True)


def test_training_images_in_the_data_give_a_warning(evaluate, model_folder, data):
    digest = image_digest(Image.open(data / "cap/test/good/1.png"))
    (model_folder / TRAINING_RECORD).write_text(json.dumps({"image_digests": [digest]}))
    outcome = evaluate("--format", "markdown")
    assert outcome.status == 0
    assert outcome.out.startswith("NOT ZERO-SHOT: trained on 1 of these 9 images.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--split", "validation"], "has no split 'validation'"),
        (["--category", "bolt"], "has no category 'bolt'"),
        (["--size", "0"], "--size"),
        (["--smoothing-sigma", "-1"], "--smoothing-sigma"),
        (["--output", "report.json", "--plots", "report.json/in"], "report.json"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(evaluate, arguments, said):
    Path("report.json").write_text("earlier")
    outcome = evaluate(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["report.json"]
    assert Path("report.json").read_text() == "earlier"


def test_no_numbers_are_given_when_an_image_cannot_be_read(evaluate, data):
    (data / "cap/test/dent/2.png").write_bytes((data / "cap/test/dent/2.png").read_bytes()[:100])
    outcome = evaluate("--output", "report.json", "--plots", "figures")
    assert (outcome.status, outcome.out) == (2, "")
    assert "cap/test/dent/2.png" in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_a_missing_folder_is_named(evaluate):
    outcome = evaluate(path="typo")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "typo" in outcome.err


def test_two_launched_processes_and_a_stream_give_the_report_of_one(evaluate, data, model_folder):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    command += ["-m", "modeling_fbclip.cli", "evaluate", data, "--model", model_folder, "--size", 48]
    command += ["--streaming", "--batch-size", 2, "--format", "json"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    two = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=environment)
    assert two.returncode == 0, two.stderr
    one = evaluate("--batch-size", 2, "--format", "json")
    report, expected = json.loads(two.stdout), json.loads(one.out)
    assert report["mean"] == pytest.approx(expected["mean"], abs=1e-6)
    assert report["categories"]["cap"] == pytest.approx(expected["categories"]["cap"], abs=1e-6)
    assert (report["counts"], report["settings"]) == (expected["counts"], expected["settings"])
    streamed = evaluate("--streaming", "--workers", 2, "--batch-size", 2, "--format", "json")
    assert json.loads(streamed.out) == expected


def test_the_layout_option_is_used(evaluate, data):
    arguments = ["--format", "json", "--layout", "good-only"]
    outcome = evaluate(*arguments, path=data / "cap/test/good")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["counts"]["good"]["normal"] == 3


@pytest.mark.parametrize("form", ["csv", "json"])
def test_rows_have_each_image_and_name_the_figures_of_misses(evaluate, data, form):
    outcome = evaluate("--rows", f"rows.{form}", "--plots", "figures", "--format", "json")
    assert outcome.status == 0, outcome.err
    text = Path(f"rows.{form}").read_text()
    rows = json.loads(text) if form == "json" else list(csv.DictReader(text.splitlines()))
    assert [row["category"] for row in rows] == ["cap"] * 6 + ["nut"] * 3
    assert {row["path"] for row in rows} == {str(path) for path in data.glob("*/test/*/*.png")}
    kinds = {row["path"].split("/")[-2]: (row["defect"], row["label"]) for row in rows}
    assert kinds == {"good": ("good", "normal"), "dent": ("dent", "anomalous")}
    misses = list(csv.DictReader(Path("figures/misses.csv").read_text().splitlines()))
    assert {row["figure"] for row in misses} == {path.name for path in Path("figures").glob("*-?.png")}
    assert [row["path"] for row in misses] == [row["path"] for row in rows if row["figure"]]
    # Of the category with good images only, those with the highest scores.
    highest = max((row for row in rows if row["category"] == "nut"), key=lambda row: float(row["score"]))
    assert highest["figure"] == "nut.highest-1.png"


def test_rows_are_refused_in_another_form(evaluate):
    outcome = evaluate("--rows", "rows.txt")
    assert (outcome.status, outcome.err) == (
        2,
        "fbclip: Invalid value for --rows: rows.txt must end in .csv or .json\n",
    )


def test_figures_that_cannot_be_saved_lose_no_number(evaluate, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modeling_fbclip.evaluation.plots.save_plots", fail)
    outcome = evaluate("--plots", "figures", "--output", "report.json", "--format", "json")
    assert outcome.status == 2
    assert json.loads(outcome.out)["counts"]["cap"]["images"] == 6
    assert json.loads(Path("report.json").read_text()) == json.loads(outcome.out)
    assert "--plots: the figures of cap: [Errno 28] No space left on device" in outcome.err


def test_images_that_thresholds_were_set_on_are_told(fbclip, model_folder, data):
    arguments = ["--model", model_folder, "--output", "calibrated", "--target-fpr", 0.2, "--split", "test"]
    assert fbclip("calibrate", data, *arguments).status == 0
    outcome = fbclip("evaluate", data, "--model", "calibrated", "--size", 48, "--format", "markdown")
    assert outcome.out.startswith("Thresholds were set on 6 of these 9 images. Percent;")


def test_a_missing_aupimo_is_explained(evaluate):
    outcome = evaluate("--format", "markdown")
    assert outcome.err == (
        "AUPIMO needs 100000 pixels of normal images, more images or a larger --size; n/a for cap\n"
    )


@pytest.mark.parametrize(
    ("option", "value"), [("--split", "nix"), ("--category", "nix"), ("--layout", "nix"), ("--layout", "visa")]
)
def test_a_mistake_in_an_option_is_blamed_on_it(evaluate, option, value):
    outcome = evaluate(option, value)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert outcome.err.startswith(f"fbclip: Invalid value for {option}: ")


def test_what_the_data_set_does_not_read_is_told(evaluate, data, save_photograph):
    save_photograph(data / "cap/loose/1.png")
    save_photograph(data / "cap/.hidden.png")
    outcome = evaluate("--format", "json")
    assert outcome.status == 0
    told = outcome.err.splitlines()[-1]
    assert told.startswith(f"{data}; pictures that are neither images nor masks: 1 in ")
    assert told.endswith("cap/loose; left out: 1 hidden")


def test_figures_are_not_read_as_data(evaluate, data):
    before = evaluate("--format", "json").out
    assert evaluate("--plots", data / "cap/test/figures").status == 0
    outcome = evaluate("--format", "json")
    assert json.loads(outcome.out)["counts"] == json.loads(before)["counts"]
    assert " results of fbclip" in outcome.err
    assert "neither images nor masks" not in outcome.err
