"""`fbclip detect --report`: one file for all images, however many processes and runs examined them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def names_in(report):
    return re.findall("<h2>(.*)</h2>", Path(report).read_text(encoding="utf-8"))


def outcomes_in(report):
    return re.findall('data-outcome="(.*?)"', Path(report).read_text(encoding="utf-8"))


@pytest.fixture
def parts(detect, save_photograph):  # noqa: ARG001  `detect` changes to an empty folder
    for index in range(5):
        save_photograph(f"parts/{index}.png", seed=index)
    Path("parts/5.png").write_text("no image")
    return Path("parts")


def test_the_report_has_every_image_and_leaves_nothing_beside_it(detect, parts):
    outcome = detect(parts, "--report", "found/report.html", "--no-overlays", "--no-maps", "--format", "csv")
    assert outcome.status == 1
    rows = [line.split(",") for line in outcome.out.splitlines()[1:]]
    ranked = sorted(rows, key=lambda row: -float(row[1] or -1))
    assert names_in("found/report.html") == [row[0] for row in ranked]
    assert outcomes_in("found/report.html") == [row[2] or "failed" for row in ranked]
    assert Path("found/report.html").read_text(encoding="utf-8").count('src="data:image/webp;base64,') == 10
    assert [path.name for path in Path("found").iterdir()] == ["report.html"]
    assert list(Path("outputs").iterdir()) == []


def test_a_resumed_run_reports_the_images_of_both(detect, parts):
    arguments = [parts, "--report", "report.html", "--format", "jsonl", "--batch-size", 2]
    detect(*arguments)
    whole = Path("report.html").read_text(encoding="utf-8")
    rows = Path("outputs/rows-00000-of-00001.jsonl")
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:3]))
    thumbnails = Path("outputs/rows-00000-of-00001.thumbnails")
    lines = sorted(thumbnails.read_text().splitlines(keepends=True), key=lambda line: json.loads(line)["index"])
    thumbnails.write_text("".join(lines[:4])[:-9])  # each is written before the row of its image
    Path("report.html").unlink()
    assert detect(*arguments, "--resume").status == 1
    again = Path("report.html").read_text(encoding="utf-8")
    assert sorted(names_in("report.html")) == [f"parts/{index}.png" for index in range(6)]
    assert without_time(again) == without_time(whole)
    refused = detect(parts, "--format", "jsonl", "--batch-size", 2, "--resume")
    assert "(report True is now False); choose another folder" in refused.err


def without_time(text):
    return re.sub("<dt>written</dt><dd>.*?</dd>", "", text)


def test_two_launched_processes_write_the_report_of_one(detect, parts, model_folder):
    arguments = [parts, "--batch-size", 2]
    detect(*arguments, "--output", "one", "--report", "one.html")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    command += ["-m", "modeling_fbclip.cli", "detect", *arguments, "--model", model_folder, "--output", "two"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    command = [*map(str, command), "--report", "two.html"]
    two = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert two.returncode == 1, two.stderr
    one, two = (without_time(Path(name).read_text(encoding="utf-8")) for name in ("one.html", "two.html"))
    assert one == two


def test_an_interrupted_run_leaves_no_report(detect, parts, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("modeling_fbclip.detection.report_page.Environment.get_template", interrupt)
    assert detect(parts, "--report", "found/report.html").status == 130
    assert not Path("found").exists() or list(Path("found").iterdir()) == []


@pytest.mark.parametrize(("report", "said"), [("parts", "parts: Is a directory"), ("/proc/a.html", "/proc/a.html: ")])
def test_a_report_that_cannot_be_written_is_found_before_the_model_is_loaded(detect, parts, monkeypatch, report, said):
    monkeypatch.setattr("modeling_fbclip.detection.loading.load_detector", None)
    outcome = detect(parts, "--report", report)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(f"fbclip: Invalid value for --report: {said}")
