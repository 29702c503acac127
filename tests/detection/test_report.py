"""The report of a run: its file, what it holds of each image, and that nothing in it is taken for HTML."""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.processes import ALONE
from modeling_fbclip.detection.report import shown, write_report
from modeling_fbclip.detection.report_entries import MOST_REGIONS, SortedEntries, collecting
from modeling_fbclip.detection.results import Results
from modeling_fbclip.detection.rows import Row
from modeling_fbclip.detection.sources import Item
from modeling_fbclip.detection.thumbnails import MOST_BYTES, SIDE, make_thumbnails

REGION = {"box": [10, 20, 14, 23], "area": 9, "peak": 0.75, "mean": 0.5}


def item(index: int, path: str = "a.png") -> Item:
    return Item(0, index, path, None, str)


def result(width: int, height: int, regions: list[dict[str, Any]]) -> dict[str, Any]:
    anomaly_map = np.zeros((height, width), np.float32)
    return {"anomaly_map": anomaly_map, "mask": anomaly_map > 0.5, "regions": regions}


@pytest.fixture
def results(tiny_model, tmp_path: Path) -> Results:
    detector = Detector(tiny_model, FBCLIPProcessor.from_config(tiny_model.config))
    return Results(detector, Path("/parts"), tmp_path, False, False)


@pytest.fixture
def report(results: Results, tmp_path: Path) -> Callable[..., str]:
    """Writes a report of some rows without pictures and gives its text."""

    def write(*rows: Row, model: str = "the bundled model") -> str:
        with collecting(None, ALONE) as entries:
            for index, row in enumerate(rows):
                entries.add(item(index, row.path), row, None, None)
            write_report(tmp_path / "report.html", model, results, entries, None)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def paths_in(text: str) -> list[str]:
    return re.findall("<h2>(.*)</h2>", text)


def test_the_highest_score_comes_first_and_what_has_none_last(report) -> None:
    rows = [
        Row("c", 0.2, "normal"),
        Row("broken", error="no image"),
        Row("b", 0.9, "anomalous"),
        Row("d", 0.2, "normal"),
    ]
    text = report(*rows)
    assert paths_in(text) == ["b", "c", "d", "broken"]
    assert re.findall('data-outcome="(.*?)"', text) == ["anomalous", "normal", "normal", "failed"]
    assert "4 images, 1 anomalous, 2 normal, 1 failed. An image is anomalous from a score of 0.500 on." in text
    assert re.findall('<option value=".*?">(.*)</option>', text) == [
        "all (4)",
        "anomalous (1)",
        "normal (2)",
        "failed (1)",
    ]
    assert "</b> no image</p>" in text


def test_model_thresholds_and_settings_are_named(report, results) -> None:
    results.detector.thresholds["pixel_threshold"] = 0.25
    facts = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", report(Row("a", 0.5, "anomalous"), model="my-model")))
    assert (facts["model"], facts["threshold"], facts["pixel threshold"]) == ("my-model", "0.5", "0.25")
    assert (facts["score"], facts["min area"], facts["image size"], facts["references"]) == (
        "cls",
        "1",
        "32, 32",
        "none",
    )
    assert len(facts["weights"]) == 32


HOSTILE = (
    "<script>alert(1)</script>.png",
    '"><img src=x onerror=alert(1)>',
    "a\n</article>\udc80\x00'.png",
    "{{ 7 * 7 }}",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_is_taken_for_html(report, name: str) -> None:
    plain = report(Row("a", 0.5, "anomalous", "b", category="c"), model="d")
    hostile = report(Row(name, 0.5, "anomalous", name, category=name), model=name)
    tags = re.compile("<[a-z/!][^>]*>")
    assert [tag.split()[0] for tag in tags.findall(hostile)] == [tag.split()[0] for tag in tags.findall(plain)]
    assert "49" not in paths_in(hostile)


def test_the_policy_allows_no_request_and_no_other_script(report) -> None:
    text = report(Row("a", 0.5, "anomalous"))
    policy = re.search('Content-Security-Policy" content="(.*?)"', text)[1]
    assert re.fullmatch(r"default-src 'none'; img-src data:; style-src 'sha256-\S+'; script-src 'sha256-\S+'", policy)
    assert not re.search(r"https?://|@import|url\(", text)


def test_a_report_that_cannot_be_written_leaves_nothing(results, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("modeling_fbclip.detection.report.shown", lambda entry: entry["no such key"])
    with collecting(None, ALONE) as entries:
        entries.add(item(0), Row("a"), None, None)
        with pytest.raises(KeyError):
            write_report(tmp_path / "report.html", "a model", results, entries, None)
    assert list(tmp_path.iterdir()) == []


def test_entries_of_all_processes_and_of_earlier_runs_are_merged(tmp_path: Path) -> None:
    for rank, scores in ((0, {0: 0.1, 2: 0.7}), (1, {1: 0.4, 2: 0.6})):
        with collecting(tmp_path, ALONE._replace(rank=rank, size=2)) as entries:
            for index, score in scores.items():
                entries.add(item(index), Row(f"{index}", score, "normal"), None, None)
    (tmp_path / "rows-00001-of-00002.thumbnails").open("a").write('{"shard": 0, "ind')  # killed here
    files = [io.BytesIO(path.read_bytes()) for path in sorted(tmp_path.iterdir())]
    merged = [(entry["index"], entry["score"]) for entry in SortedEntries(files)]
    assert merged == [(2, 0.6), (1, 0.4), (0, 0.1)]  # of an image that was examined again, the last


def decoded(webp: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(webp))).convert("RGB")


@pytest.mark.parametrize(("size", "expected"), [((1200, 900), (400, 300)), ((60, 3000), (8, 400)), ((5, 3), (5, 3))])
def test_thumbnails_keep_the_form_and_are_never_enlarged(size, expected) -> None:
    pictures = make_thumbnails(Image.new("RGB", size, (90, 120, 150)), result(*size, []))
    assert [decoded(webp).size for webp in pictures] == [expected] * 2
    assert all(np.abs(np.asarray(decoded(webp), int) - (90, 120, 150)).max() < 8 for webp in pictures)


def test_a_few_anomalous_pixels_of_a_large_image_are_seen_in_its_thumbnail() -> None:
    found = result(4000, 3000, [])
    found["anomaly_map"][1500:1503, 2000:2003] = 1.0
    found["mask"] = found["anomaly_map"] > 0.5
    photograph, overlay = map(decoded, make_thumbnails(Image.new("RGB", (4000, 3000), (90, 120, 150)), found))
    changed = np.abs(np.asarray(photograph, int) - np.asarray(overlay)).max(axis=2) > 40
    rows, columns = np.nonzero(changed)
    assert (rows.min() > 140, rows.max() < 160, columns.min() > 190, columns.max() < 210) == (True,) * 4


def test_a_thousand_of_the_largest_thumbnails_stay_below_100_mb() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    found = result(SIDE, SIDE, [])
    found["anomaly_map"][:] = noise[..., 0] / 255
    pictures = make_thumbnails(Image.fromarray(noise), found)
    assert max(map(len, pictures)) <= MOST_BYTES * 4 / 3 + 4
    assert 1000 * (2 * MOST_BYTES * 4 / 3 + MOST_REGIONS * 600) < 100e6


def test_only_the_highest_regions_are_shown_and_small_ones_have_a_frame_that_is_seen() -> None:
    with collecting(None, ALONE) as entries:
        picture, regions = Image.new("RGB", (200, 100)), [REGION] * (MOST_REGIONS + 3)
        entries.add(item(0), Row("a", 0.5, "normal", regions=regions), picture, result(200, 100, regions))
        entries.file.seek(0)
        entry = shown(json.loads(entries.file.readline()))
    assert (len(entry["regions"]), entry["more"], entry["note"]) == (MOST_REGIONS, 3, f"{MOST_REGIONS + 3} regions")
    first = entry["regions"][0]
    assert (first["left"], first["top"], first["width"], first["height"]) == (7.0, 16.5, 10, 10)
    assert first["text"] == "region 1: peak 0.750, mean 0.500, 9 pixels within 10, 20 and 14, 23"
