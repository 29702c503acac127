"""Which images `fbclip detect` takes, in which order, and that no two of them share a result."""

import io
import json
import os
from pathlib import Path

import pytest

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
    monkeypatch.setattr("sys.stdin", io.StringIO("parts/a b.png\n\nparts/c.png\r\n"))
    outcome = detect("--stdin", "--format", "json")
    assert outcome.status == 0, outcome.err
    assert [row["path"] for row in json.loads(outcome.out)] == ["parts/a b.png", "parts/c.png"]


def test_a_data_set_needs_no_labels_for_scores(detect, save_photograph):
    save_photograph("parts/images/1.png")
    save_photograph("parts/rest/2.png")
    Path("parts/metadata.csv").write_text("file_name,label\nimages/1.png,good\n")
    outcome = detect("--data", "parts", "--format", "json")
    assert outcome.status == 0, outcome.err
    assert outcome.err.endswith("; left out: 1 pictures that are neither images nor masks\n")
