"""Regions in every form of rows, and their crops."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from modeling_fbclip.detection.crops import crop_around

ALL = ("--pixel-threshold", 0)  # the whole image is one region
NONE = ("--pixel-threshold", 1)


def rows_of(outcome):
    return json.loads(outcome.out)


def test_regions_are_in_rows_of_all_forms(detect, save_photograph):
    save_photograph("parts/a.png", width=20, height=12)
    Path("parts/b.png").write_text("no image")
    found, failed = rows_of(detect("parts", "--format", "json", *ALL))
    (region,) = found["regions"]
    assert (region["box"], region["area"]) == ([0, 0, 20, 12], 240)
    with Image.open(found["map"]) as stored:
        values = np.asarray(stored) / 65535
    assert region["peak"] == pytest.approx(values.max(), abs=1e-5)
    assert region["mean"] == pytest.approx(values.mean(), abs=1e-5)
    assert failed["regions"] is None

    detect("parts", "--format", "jsonl", "--output", "lines", *ALL)
    lines = [json.loads(line) for line in Path("lines/rows-00000-of-00001.jsonl").read_text().splitlines()]
    assert [line["regions"] for line in lines] == [[region], None]
    detect("parts", "--format", "parquet", "--output", "tables", *ALL)
    table = pq.read_table("tables/rows-00000-of-00001.parquet")
    assert table.column("regions").to_pylist() == [[region], None]

    header, *cells = csv.reader(io.StringIO(detect("parts", "--format", "csv", *ALL).out))
    assert header[-3:] == ["regions", "largest_region", "highest_region"]
    assert [row[-3:] for row in cells] == [["1", "240", str(region["peak"])], ["", "", ""]]
    _, none, _ = csv.reader(io.StringIO(detect("parts", "--format", "csv", *NONE).out))
    assert none[-3:] == ["0", "", ""]


def test_a_table_without_a_region_has_the_same_schema(detect, save_photograph):
    save_photograph("photo.png")
    schemas = []
    for output, threshold in (("all", ALL), ("none", NONE)):
        detect("photo.png", "--format", "parquet", "--output", output, *threshold)
        schemas.append(pq.read_schema(f"{output}/rows-00000-of-00001.parquet"))
    assert schemas[0] == schemas[1]
    assert str(schemas[0].field("regions").type).startswith("list<element: struct<box: list<")


def test_min_area_leaves_small_regions_out_but_not_the_score(detect, save_photograph):
    save_photograph("photo.png", width=20, height=12)
    (all_,), (none,) = (
        rows_of(detect("photo.png", "--format", "json", "--min-area", area, *ALL)) for area in (240, 241)
    )
    assert (len(all_["regions"]), none["regions"]) == (1, [])
    assert (all_["score"], all_["label"]) == (none["score"], none["label"])
    outcome = detect("photo.png", "--min-area", 0)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "--min-area" in outcome.err


def test_resuming_with_another_area_is_refused(detect, save_photograph):
    save_photograph("photo.png")
    assert detect("photo.png", "--format", "jsonl", "--min-area", 2).status == 0
    outcome = detect("photo.png", "--resume", "--min-area", 3)
    assert "(min_area 2 is now 3); choose another folder" in outcome.err


def test_crops_lie_as_the_images_lie_and_are_no_images_of_a_later_run(detect, save_photograph):
    for name in ("parts/left/a.png", "parts/right/a.png"):
        save_photograph(name, width=20, height=12, seed=len(name))
    outcome = detect("parts", "--recursive", "--crops", "parts/crops", *ALL)
    assert outcome.err.strip().endswith("; overlays and maps are in outputs; crops are in parts/crops")
    crops = {str(path.relative_to("parts/crops")) for path in Path("parts/crops").rglob("*.png")}
    assert crops == {"left/a.png.region-001.png", "right/a.png.region-001.png"}
    for crop in crops:
        original = Path("parts", crop).with_name("a.png")
        assert Image.open(Path("parts/crops", crop)).tobytes() == Image.open(original).tobytes()
    assert not list(Path("parts").rglob(".*.partial"))
    again = detect("parts", "--recursive", "--format", "json", "--output", "others")
    assert [row["path"] for row in rows_of(again)] == ["parts/left/a.png", "parts/right/a.png"]


def test_a_crop_shows_the_surroundings_within_the_picture():
    picture = Image.new("RGB", (300, 200))
    assert crop_around(picture, [100, 90, 104, 94]).size == (4 + 2 * 16, 4 + 2 * 16)
    assert crop_around(picture, [100, 50, 180, 60]).size == (80 + 2 * 40, 10 + 2 * 40)
    assert crop_around(picture, [0, 195, 2, 200]).size == (2 + 16, 5 + 16)


def test_crops_that_cannot_be_saved_leave_the_row_with_the_error(detect, save_photograph):
    save_photograph("photo.png")
    Path("crops").mkdir()
    Path("crops/photo.png.region-001.png").mkdir()
    outcome = detect("photo.png", "--crops", "crops", "--format", "json", *ALL)
    (row,) = rows_of(outcome)
    assert outcome.status == 1
    assert row["error"].startswith("region-001.png cannot be saved in crops: ")
    assert (len(row["regions"]), row["score"] is None) == (1, False)


def test_a_caption_is_below_the_overlay(detect, save_photograph):
    save_photograph("photo.png", width=150, height=100)
    (plain,) = rows_of(detect("photo.png", "--format", "json"))
    (captioned,) = rows_of(detect("photo.png", "--format", "json", "--caption", "--output", "others"))
    with Image.open(plain["overlay"]) as one, Image.open(captioned["overlay"]) as other:
        assert (one.size, other.size) == ((150, 100), (150, 124))
        assert other.crop((0, 0, 150, 100)).tobytes() == one.tobytes()
    outcome = detect("photo.png", "--caption", "--no-overlays")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "--caption" in outcome.err


@pytest.mark.parametrize("option", ["--crops"])
def test_a_folder_that_refuses_files_is_found_before_the_model_is_loaded(detect, save_photograph, monkeypatch, option):
    save_photograph("photo.png")
    monkeypatch.setattr("modeling_fbclip.detection.loading.load_detector", None)
    outcome = detect("photo.png", option, "/proc/found")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(f"fbclip: Invalid value for {option}: /proc/found: ")
