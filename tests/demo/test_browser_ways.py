"""Several images, good images, tiles, other prompts and two sides, in Chromium."""

import csv
import io
from urllib.parse import unquote

import pytest
from PIL import Image

from .conftest import EXAMPLES, SCRATCH, wait_for


def test_tiles_are_seen_of_a_large_photograph(page, tmp_path):
    Image.open(SCRATCH).resize((800, 600)).save(tmp_path / "large.png")
    page.drop("#photo", tmp_path / "large.png")
    page.wait_for_result("large.png")
    assert page.all("#one .note") == []
    page.one("#tiles input").click()
    assert page.text("#one .note").startswith("Seen in 12 tiles too.")
    page.one("#tiles input").click()
    wait_for(lambda: page.all("#one anomaly-result canvas") and not page.all("#one .note"))


def test_several_images_give_a_gallery_and_a_table_to_download(page, tmp_path, expected):
    (tmp_path / "=letter.png").write_text("no image")
    page.click_tab("Several images")
    names = ["wood_good.jpg", "wood_scratch.jpg"]
    page.drop("#files", *[EXAMPLES / name for name in names], tmp_path / "=letter.png")
    wait_for(lambda: len(page.all("#many .gallery canvas")) == 2)
    page.screenshot("demo-several.png")
    shown = [result.get_attribute("data-name") for result in page.all("#many anomaly-result")]
    assert shown == sorted(names, key=lambda name: -expected[name]["score"])

    page.one("#many a.csv").click()
    link = page.one("#many a.csv").get_attribute("href")
    rows = list(csv.DictReader(io.StringIO(unquote(link.split(",", 1)[1]), newline="")))
    assert [row["image"] for row in rows] == [*names, "'=letter.png"]  # no formula in a spreadsheet
    assert [row["label"] for row in rows] == [*(expected[name]["label"] for name in names), ""]
    assert rows[2]["error"].startswith("'=letter.png: not an image")
    page.set_slider("#threshold", 0.99)
    wait_for(lambda: "anomalous" not in page.text("#many .gallery"))

    page.all("#many .enlarge")[0].click()
    wait_for(lambda: page.all("dialog[open] canvas"))
    assert page.one("dialog img.photo").size["width"] > 300
    page.one("dialog button[aria-label='Close']").click()
    wait_for(lambda: not page.all("dialog"))


def test_good_images_change_the_map_and_go_again(page, tmp_path):
    good = Image.open(EXAMPLES / "grass_good.jpg")
    good.crop((0, 0, 128, 128)).save(tmp_path / "a.png")
    good.crop((128, 128, 256, 256)).save(tmp_path / "b.png")
    page.drop("#photo", EXAMPLES / "grass_cap.jpg")
    page.wait_for_result("grass_cap.jpg")
    score, threshold = page.text("#one .score"), page.one("#threshold input[type=number]").get_attribute("value")
    page.drop("#good", tmp_path / "a.png", tmp_path / "b.png")
    wait_for(lambda: page.text("#one .score") not in ("", score))
    assert page.text("#compared") == "Compared with a.png, b.png"
    assert page.one("#threshold input[type=number]").get_attribute("value") == "0.5"
    page.one("#alone").click()
    wait_for(lambda: page.text("#one .score") == score)
    assert page.one("#threshold input[type=number]").get_attribute("value") == threshold


def test_several_images_judge_one_another(page, tmp_path):
    good = Image.open(EXAMPLES / "brick_good.jpg")
    for index in range(8):
        good.crop((index * 8, index * 8, index * 8 + 128, index * 8 + 128)).save(tmp_path / f"{index}.png")
    page.click_tab("Several images")
    page.drop("#files", *sorted(tmp_path.glob("*.png")))
    wait_for(lambda: len(page.all("#many .gallery canvas")) == 8)
    before = page.text("#many .rows")
    page.one("#mutual input").click()
    wait_for(lambda: len(page.all("#many .gallery canvas")) == 8 and page.text("#many .rows") != before)
    page.drop("#files", tmp_path / "0.png", tmp_path / "1.png")
    wait_for(lambda: "need at least 8 images to judge one another" in page.text("#many .rows"))


def test_other_prompts_change_the_score_and_say_what_is_not_known(page):
    page.drop("#photo", SCRATCH)
    score = page.text("#one .score")
    page.click_text("Model and prompts")
    assert page.one("#normal textarea, #normal input").get_attribute("value") == "object without defect ."
    write(page, "#anomalous", "scratched wood")
    page.one("#apply").click()
    wait_for(lambda: page.text("#one .score") != score)
    notes = [note.text for note in page.all("#one .note")]
    assert notes[0] == "This model does not know 'scratched'; other words say more to it."
    assert notes[1].startswith("The thresholds were set for the model's own prompts")
    write(page, "#anomalous", "object without defect .")
    page.one("#apply").click()
    assert page.text("#one .message") == "Both prompts are the same to it; change one of them."


def write(page, field, text):
    box = wait_for(lambda: [box for box in page.all(f"{field} textarea, {field} input") if box.is_displayed()])[0]
    box.clear()
    box.send_keys(text)


def test_two_prompts_are_shown_side_by_side(page, expected):
    page.drop("#photo", SCRATCH)
    page.wait_for_result("wood_scratch.jpg")
    page.click_text("Beside it")
    write(page, "#second-normal", "wood without defect")
    write(page, "#second-anomalous", "wood with defect")
    page.one("#second-model input").click()
    wait_for(lambda: page.all("ul[role=listbox] li"))[1].click()
    wait_for(lambda: len(page.all("#one .stage canvas")) == 2)
    first, second = (float(score.text) for score in page.all("#one .score"))
    assert first == pytest.approx(expected["wood_scratch.jpg"]["score"], abs=6e-4)
    assert second != first
