"""`fbclip datasets`: the list of known data sets, and the check with its exit status."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.data.registry import KNOWN_DATASETS


@pytest.fixture
def parts(tmp_path, monkeypatch, save_photograph):
    """A folder with two images and a mask. The path is relative to the working folder, as users write it."""
    monkeypatch.chdir(tmp_path)
    save_photograph("parts/good/1.png")
    save_photograph("parts/bad/[2].png")
    Path("parts/masks/bad").mkdir(parents=True)
    Image.fromarray(np.eye(12, 20, dtype=np.uint8)).save("parts/masks/bad/[2].png")
    return "parts"


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"]])
def test_help_has_an_example_and_fits_a_terminal(fbclip, arguments):
    outcome = fbclip("datasets", *arguments)
    assert outcome.status == 0
    assert "Example:\n    fbclip datasets" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_every_format_lists_all_seventeen_data_sets(fbclip):
    table, lines, document = (fbclip("datasets", "--format", form) for form in ("table", "csv", "json"))
    assert (table.status, lines.status, document.status) == (0, 0, 0)
    known = json.loads(document.out)
    assert [row["name"] for row in known] == list(KNOWN_DATASETS)
    assert known[0]["categories"][0] == "bottle"
    assert all(row["licence"] and row["source"].startswith("http") for row in known)
    rows = list(csv.DictReader(lines.out.splitlines()))
    assert [row["name"] for row in rows] == list(KNOWN_DATASETS)
    assert (rows[1]["categories"], rows[1]["has_masks"], rows[1]["licence"]) == ("12", "True", "CC BY 4.0")
    assert all(row["source"] in table.out and f" {row['name']} " in table.out for row in known)


def test_a_data_set_without_oddities_ends_with_status_0(fbclip, parts):
    outcome = fbclip("datasets", "check", parts)
    assert outcome.status == 0
    assert outcome.err == "2 images, 1 anomalous; nothing odd\n"
    lines = outcome.out.splitlines()
    assert lines[0] == "parts: layout plain"
    assert [line.split() for line in lines if "test" in line] == [["test", "parts", "1", "1", "1"]]


def test_oddities_end_with_status_1_and_are_listed_in_every_format(fbclip, parts):
    Image.fromarray(np.eye(3, dtype=np.uint8)).save("parts/masks/bad/[2].png")
    said = ("parts/masks/bad/[2].png", "mask of 3 by 3 pixels, image of 20 by 12")
    outcome = fbclip("datasets", "check", parts)
    assert (outcome.status, outcome.err) == (1, "2 images, 1 anomalous; 1 odd (exit status 1)\n")
    assert any(all(text in line for text in said) for line in outcome.out.splitlines())
    outcome = fbclip("datasets", "check", parts, "--format", "json")
    findings = json.loads(outcome.out)
    assert (outcome.status, findings["layout"], findings["counts"][0]["anomalous"]) == (1, "plain", 1)
    assert [(oddity["path"], oddity["problem"]) for oddity in findings["oddities"]] == [said]
    outcome = fbclip("datasets", "check", parts, "--format", "csv")
    count, oddity = csv.DictReader(outcome.out.splitlines())
    assert outcome.status == 1
    assert (count["normal"], count["masks"], count["path"]) == ("1", "1", "")
    assert (oddity["path"], oddity["problem"], oddity["normal"]) == (*said, "")


def test_a_name_with_a_line_break_stays_on_one_line(fbclip, parts, save_photograph):
    save_photograph("parts/bad/line\nbreak.png")
    outcome = fbclip("datasets", "check", parts)
    assert outcome.status == 1
    assert any("line\\nbreak.png" in line and "has no mask" in line for line in outcome.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["parts", "--layout", "visa"],
            "parts: no data set found. Leave the layout out to have it recognised. Looked for split_csv/1cls",
        ),
        (["parts", "--layout", "x"], "layout='x' is none of meta-json, "),
        (["parts/good"], "parts/good: no data set found. Put normal images into a folder good/ in it, "),
        (["mvtec-ad"], "mvtec-ad: is not downloaded automatically; get MVTec AD from https://"),
        (["nowhere"], "nowhere: no such folder"),
    ],
)
@pytest.mark.usefixtures("parts")
def test_an_unreadable_data_set_is_one_line_and_status_2(fbclip, arguments, said):
    outcome = fbclip("datasets", "check", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_columns_are_named_on_the_command_line(fbclip, parts):
    Path("parts/labels.csv").write_text("photo;quality\ngood/1.png;A\nbad/[2].png;B\n")
    outcome = fbclip(
        "datasets", "check", parts, "--columns", "image=photo, label=quality,normal=A", "--format", "json"
    )
    (count,) = json.loads(outcome.out)["counts"]
    assert (count["normal"], count["anomalous"]) == (1, 1)
    outcome = fbclip("datasets", "check", parts, "--columns", "image=photo,label=quality")
    assert outcome.status == 2
    assert "it is not known which 'quality' means normal, of 'A', 'B'; say it by columns (--columns" in outcome.err
    outcome = fbclip("datasets", "check", parts, "--columns", "photo")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "--columns: 'photo' names no column; write image=photo,label=state" in outcome.err
