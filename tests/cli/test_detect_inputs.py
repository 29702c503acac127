"""Which images `fbclip detect` takes, in which order, and that no two of them share a result."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.common.own_results import MARKER


@pytest.fixture
def taken(detect):
    """Runs over arguments and gives the images taken, having checked that each result is a file of its own."""

    def run(*arguments, status=0):
        outcome = detect(*arguments, "--format", "json")
        assert outcome.status == status, outcome.err
        rows = json.loads(outcome.out)
        results = {row["path"]: {row["overlay"], row["map"]} for row in rows if not row["error"]}
        files = set().union(*results.values()) if results else set()
        assert len(files) == 2 * len(results)
        assert all(Path(file).is_file() for file in files)
        return [row["path"] for row in rows]

    return run


def test_a_folder_gives_its_images_sorted_and_nothing_else(taken, save_photograph):
    for name in ("b.JPG", "a.png", "c.webp", "deep/d.png", ".hidden.png"):
        save_photograph(Path("parts", name))
    Path("parts/notes.txt").write_text("text")
    assert taken("parts") == ["parts/a.png", "parts/b.JPG", "parts/c.webp"]
    assert taken("parts", "--recursive") == ["parts/a.png", "parts/b.JPG", "parts/c.webp", "parts/deep/d.png"]


def test_a_named_file_is_read_whatever_its_suffix(taken, save_photograph):
    save_photograph("photo.png").rename("photo")
    Path("notes.txt").write_text("text")
    assert taken("photo") == ["photo"]
    assert taken("photo", "notes.txt", status=1) == ["photo", "notes.txt"]


def test_globs(taken, save_photograph):
    for name in ("a/1.png", "a/2.jpg", "b/1.png", "b/c/1.png"):
        save_photograph(Path(name))
    Path("a/notes.png.txt").write_text("text")
    assert taken("*/1.png") == ["a/1.png", "b/1.png"]
    assert taken("a/*") == ["a/1.png", "a/2.jpg"]
    assert taken("[ab]") == ["a/1.png", "a/2.jpg", "b/1.png"]  # folders that match are folders
    assert taken("b/**/*.png") == ["b/1.png", "b/c/1.png"]
    assert taken(Path.cwd() / "a" / "?.jpg") == [str(Path.cwd() / "a" / "2.jpg")]


def test_wildcards_and_spaces_in_existing_names_are_plain_characters(taken, save_photograph):
    names = ["[1].png", "a b.png", "what?.png", "*.png", "Größe 漆.png", "1.png", "line\nbreak.png"]
    for name in names:
        save_photograph(Path("parts", name))
    assert taken("parts/[1].png") == ["parts/[1].png"]
    assert taken("parts/*.png") == ["parts/*.png"]
    assert sorted(taken("parts")) == sorted(f"parts/{name}" for name in names)


def test_a_name_with_a_line_break_stays_on_one_line(detect, save_photograph):
    save_photograph("line\nbreak.png")
    lines = detect("line\nbreak.png").out.splitlines()
    assert len(lines) == 2
    assert "line\\nbreak.png → " in lines[1]


@pytest.mark.skipif(os.name == "nt", reason="Windows' names are text")
def test_names_that_are_not_valid_text_are_read(taken, detect, save_photograph):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        save_photograph("parts/photo.png").rename(Path("parts", name))
    except OSError:
        pytest.skip("this file system takes text only")
    assert taken("parts") == [f"parts/{name}"]
    assert detect("parts", "--format", "csv").status == 0


def test_equal_names_in_different_folders_and_formats_get_different_results(taken, save_photograph):
    names = ["a/1.png", "a/1.jpg", "a/1.overlay.png", "b/1.png", "b/a/1.png"]
    for name in names:
        save_photograph(Path("parts", name))
    assert sorted(taken("parts", "--recursive")) == sorted(f"parts/{name}" for name in names)
    assert taken("parts/a/1.png", "parts/b/1.png") == ["parts/a/1.png", "parts/b/1.png"]
    assert len(taken("parts/a", "parts/b", "parts/b/a")) == 5


def test_names_of_results_are_the_same_in_every_run(detect, save_photograph):
    for name in ("a/1.png", "b/1.png"):
        save_photograph(Path("parts", name))
    runs = [detect("parts", "--recursive", "--format", "json").out for _ in range(2)]
    assert runs[0] == runs[1]
    assert [row["overlay"] for row in json.loads(runs[0])] == [
        "outputs/a/1.png.overlay.png",
        "outputs/b/1.png.overlay.png",
    ]


def test_results_in_the_input_folder_are_not_read_as_images(taken, save_photograph):
    save_photograph("parts/1.png")
    for _ in range(2):
        assert taken("parts", "--recursive", "--output", "parts/outputs") == ["parts/1.png"]
    save_photograph("parts/outputs/kept.png")
    assert taken("parts", "--recursive", "--output", "parts/outputs") == ["parts/1.png"]
    assert taken("parts/**/*.png", "--output", "parts/outputs") == ["parts/1.png"]
    assert taken("parts/1.png", "parts/outputs", "--output", "parts/outputs") == [
        "parts/1.png",
        "parts/outputs/kept.png",
    ]


def test_results_may_lie_beside_their_images(taken, save_photograph):
    save_photograph("parts/1.png")
    for _ in range(2):
        assert taken("parts", "--output", "parts") == ["parts/1.png"]
    assert taken("parts/1.png.overlay.png", "--output", "parts") == ["parts/1.png.overlay.png"]


def test_an_image_that_is_named_twice_has_two_equal_rows(detect, save_photograph):
    for name in "ab":
        save_photograph(f"parts/{name}.png", width=600, height=600)
    outcome = detect("parts/a.png", "parts/*.png", "parts", "--format", "json")
    assert outcome.status == 0, outcome.err
    rows = json.loads(outcome.out)
    assert [row["path"] for row in rows] == [f"parts/{name}.png" for name in "aabab"]
    assert rows[0] == rows[1] == rows[3]
    results = [f"{name}.png.{kind}.png" for name in "ab" for kind in ("map", "overlay")]
    assert sorted(path.name for path in Path("outputs").rglob("*")) == sorted([MARKER, *results])


def test_the_output_folder_as_an_argument_is_skipped(taken, detect, save_photograph):
    save_photograph("1.png")
    assert taken("1.png") == ["1.png"]
    assert taken("1.png", "outputs") == ["1.png"]  # as a shell's * gives them at the second run
    outcome = detect("outputs")
    assert outcome.status == 2
    assert "nothing but earlier results" in outcome.err


def test_linked_folders_are_followed_once(taken, detect, save_photograph):
    save_photograph("parts/1.png")
    save_photograph("parts/own/2.png")
    save_photograph("store/3.png")
    Path("parts/a_link").symlink_to(Path("parts/own").absolute(), target_is_directory=True)
    Path("parts/loop").symlink_to(Path("parts").absolute(), target_is_directory=True)
    Path("parts/lot").symlink_to(Path("store").absolute(), target_is_directory=True)
    Path("parts/own/back").symlink_to(Path("parts").absolute(), target_is_directory=True)
    Path("linked").symlink_to("parts", target_is_directory=True)
    assert taken("parts", "--recursive") == ["parts/1.png", "parts/own/2.png", "parts/lot/3.png"]
    assert taken("linked", "parts") == ["linked/1.png", "parts/1.png"]
    assert detect("parts", "--recursive").err.endswith("; left out: 3 linked folders that were walked already\n")


def test_earlier_results_are_never_read(taken, detect, save_photograph):
    save_photograph("parts/a.jpg")
    for name in ("a.jpg.overlay.png", "a.jpg.map.png", "deep/a.png.map.png.overlay.png"):
        save_photograph(Path("parts/old", name))  # of a version without the marker
    assert taken("parts", "--recursive", "--output", "parts/new") == ["parts/a.jpg"]
    save_photograph("parts/new/mine.png")  # an image of the user's in a marked folder
    save_photograph("parts/new/cap.roc.png")  # as `evaluate` names its figures
    save_photograph("parts/other.roc.png")
    expected = ["parts/a.jpg", "parts/other.roc.png", "parts/new/mine.png"]
    assert taken("parts", "--recursive", "--output", "elsewhere") == expected
    assert taken("parts/*/*.png", "--output", "elsewhere") == ["parts/new/mine.png"]
    assert taken("parts/new/cap.roc.png", "--output", "elsewhere") == ["parts/new/cap.roc.png"]
    outcome = detect("parts", "--recursive", "--output", "elsewhere")
    assert outcome.err.endswith("; left out: 6 results of fbclip\n")


def test_the_number_of_files_left_out_ends_the_listing(detect, save_photograph):
    for name in ("1.png", ".hidden.png", "deep/2.png", "outputs/3.png"):
        save_photograph(Path("parts", name))
    Path("parts/notes.txt").touch()
    Path("parts/Thumbs.db").touch()
    outcome = detect("parts", "--output", "parts/outputs")
    assert outcome.err.endswith(
        "; left out: 1 hidden, 2 without an image's suffix, 2 folders inside (--recursive walks them)\n"
    )
    outcome = detect("parts", "--output", "parts/outputs", "--recursive")
    assert outcome.err.endswith(
        "; left out: 1 hidden, 2 without an image's suffix, 2 results of fbclip, 1 in the output folder\n"
    )


def test_a_dangling_link_and_an_unreadable_folder_become_rows(taken, monkeypatch, save_photograph):
    save_photograph("parts/1.png")
    Path("parts/2.png").symlink_to("gone.png")
    Path("parts/locked").mkdir()
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert taken("parts", "--recursive", status=1) == ["parts/1.png", "parts/2.png", "parts/locked"]


def test_paths_come_from_standard_input_too(detect, save_photograph, monkeypatch):
    for name in ("a b", "c"):
        save_photograph(f"parts/{name}.png")
    monkeypatch.setattr("sys.stdin", io.StringIO("parts/a b.png\n\n  \nparts/c.png\r\n"))
    outcome = detect("--stdin", "--format", "json")
    assert outcome.status == 0, outcome.err
    assert [row["path"] for row in json.loads(outcome.out)] == ["parts/a b.png", "parts/c.png"]
    again = "outputs/c.png.overlay.png\nparts/c.png\noutputs/c.png.map.png\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(again))
    outcome = detect("--stdin", "--format", "json")
    assert [row["path"] for row in json.loads(outcome.out)] == ["parts/c.png"]
    assert outcome.err.endswith("; left out: 2 results of fbclip\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    nothing = detect("--stdin")
    assert (nothing.status, "--stdin: standard input names no image" in nothing.err) == (2, True)


def save_twelve_bits(path):
    """The same picture with 8 bits, and with 12 bits in a 16-bit file."""
    grey = np.random.default_rng(0).integers(0, 256, (24, 40)).astype(np.uint16)
    grey[0, 0] = 255
    path.mkdir()
    Image.fromarray(grey * 16).save(path / "12.png")
    Image.fromarray(grey.astype(np.uint8)).save(path / "8.png")


def test_white_level_auto_is_found_and_printed_once_for_all(detect, tmp_path, monkeypatch):
    save_twelve_bits(tmp_path / "parts")
    plain = ("--no-overlays", "--no-maps", "--format", "json", "--white-level", "auto")
    line = "white level: 4095 (12 bits); the largest value of the first 2 images is 4080\n"
    outcome = detect(tmp_path / "parts", *plain)
    deep, usual = json.loads(outcome.out)
    assert deep["score"] == pytest.approx(usual["score"], abs=1e-3)
    assert outcome.err.startswith(line)
    assert outcome.err.count("white level") == 1
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{tmp_path}/parts/12.png\n{tmp_path}/parts/8.png\n"))
    piped = detect("--stdin", *plain)
    assert (piped.out, piped.err) == (outcome.out, outcome.err)
    refused = detect(tmp_path / "parts", "--white-level", "most")
    assert refused.status == 2
    assert "--white-level: 'most' is neither a number from 1 on, such as 4095, nor auto" in refused.err


def test_white_level_auto_of_a_data_set_and_of_its_stream(detect, tmp_path):
    save_twelve_bits(tmp_path / "parts")
    (tmp_path / "parts").rename(tmp_path / "good")
    (tmp_path / "data").mkdir()
    (tmp_path / "good").rename(tmp_path / "data" / "good")
    plain = ("--no-overlays", "--no-maps", "--format", "json", "--white-level", "auto")
    outcome, streamed = (detect("--data", tmp_path / "data", *plain, *more) for more in ((), ("--streaming",)))
    deep, usual = json.loads(outcome.out)
    assert deep["score"] == pytest.approx(usual["score"], abs=1e-3)
    assert [row["score"] for row in json.loads(streamed.out)] == [deep["score"], usual["score"]]
    assert outcome.err.startswith("white level: 4095 (12 bits)")
    assert streamed.err.startswith("white level: 4095 (12 bits)")


@pytest.mark.parametrize("more", [(), ("--streaming",)])
def test_a_data_set_that_is_damaged_is_to_blame_also_when_it_is_streamed(detect, save_photograph, more):
    save_photograph("parts/1.png")
    region = {"label": "cut", "shape_type": "polygon", "points": [[1]]}
    content = {"imagePath": "1.png", "imageWidth": 20, "imageHeight": 12, "shapes": [region]}
    Path("parts/1.json").write_text(json.dumps(content))
    outcome = detect("--data", "parts", *more)
    assert outcome.status == 2
    assert "Invalid value for --data: parts/1.json: a region cannot be drawn" in outcome.err


def test_a_page_is_named_as_it_was_given(detect, tmp_path):
    pages = [Image.new("L", (20, 12), 40 * page) for page in range(3)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    outcome = detect(f"{tmp_path}/scan.tif#2", f"{tmp_path}/scan.tif#3", "--format", "json")
    found, missing = json.loads(outcome.out)
    assert (found["path"], found["error"]) == (f"{tmp_path}/scan.tif#2", None)
    assert Path(found["overlay"]).name == "scan.tif#2.overlay.png"
    with Image.open(found["overlay"]) as overlay:
        assert overlay.size == (20, 12)
    assert missing["error"] == "there is no page 3: it has 3, numbered from 0."
    assert outcome.status == 1


def test_a_limit_of_megapixels_gives_rows_with_the_number(detect, save_photograph, tmp_path):
    save_photograph(tmp_path / "large.png", 200, 100)
    (row,) = json.loads(detect(tmp_path / "large.png", "--max-megapixels", 0.01, "--format", "json").out)
    assert row["error"].startswith("0.02 megapixels are more than the limit of 0.01; make the picture smaller, or")
    assert json.loads(detect(tmp_path / "large.png", "--format", "json").out)[0]["error"] is None


def test_a_data_set_needs_no_labels_for_scores(detect, save_photograph):
    save_photograph("parts/images/1.png")
    save_photograph("parts/rest/2.png")
    Path("parts/metadata.csv").write_text("file_name,label\nimages/1.png,good\n")
    outcome = detect("--data", "parts", "--format", "json")
    assert outcome.status == 0, outcome.err
    assert outcome.err.endswith("; pictures that are neither images nor masks: 1 in parts/rest\n")
