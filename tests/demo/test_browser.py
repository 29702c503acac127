"""The page in Chromium: a visitor drops images, moves sliders and reads the results."""

import csv
import io
import re
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from modeling_fbclip import ZeroShotAnomalyDetectionPipeline, load_bundled

from .conftest import EXAMPLES, wait_for
from .page import Page

SAMPLES = sorted(path.name for path in EXAMPLES.glob("*.jpg"))
SCRATCH = EXAMPLES / "wood_scratch.jpg"


@pytest.fixture
def page(chromium, demo):
    opened = Page(chromium, demo.url)
    yield opened
    assert opened.errors() == []
    assert [url for url in opened.requests() if not url.startswith("http://127.0.0.1:")] == []
    chromium.get("about:blank")


@pytest.fixture(scope="module")
def expected():
    """The pipeline's results for the sample photographs of wood, by file name."""
    model, processor = load_bundled()
    detect = ZeroShotAnomalyDetectionPipeline(model=model, processor=processor)
    return {path.name: detect(path) for path in EXAMPLES.glob("wood_*.jpg")}


def test_a_visitor_uploads_reads_and_moves_the_sliders_without_a_request(page, demo, expected):
    page.drop("#photo", SCRATCH)
    page.wait_for_result("wood_scratch.jpg")
    wanted = expected["wood_scratch.jpg"]
    label, score = wanted["label"], wanted["score"]
    assert page.text("#one .verdict .label") == label
    assert float(page.text("#one .score")) == pytest.approx(score, abs=6e-4)
    assert page.text("#one .file .name") == "wood_scratch.jpg"
    wait_for(lambda: demo.files() == [])
    page.requests()

    page.set_slider("#threshold", round(score + (0.01 if label == "anomalous" else -0.01), 3))
    wait_for(lambda: page.text("#one .verdict .label") not in ("", label))
    contoured = page.picture()
    photograph = np.asarray(Image.open(SCRATCH).convert("RGB"), dtype=int)
    good = wanted["anomaly_map"].numpy() < page_border(page) - 0.01
    assert good.any()
    assert np.abs(contoured - photograph)[good].mean() < 2  # JPEG is lossy; no tint where it is good
    page.set_slider("#contour", 0.99)
    wait_for(lambda: "0.0%" in page.one("#one img.photo").get_attribute("alt"))
    without_contour = page.picture()
    assert (contoured.min(axis=2) > 240).sum() > (without_contour.min(axis=2) > 240).sum()
    page.set_slider("#contour", 0)
    page.set_slider("#fade", 0)
    wait_for(lambda: np.abs(page.picture() - photograph)[8:-8, 8:-8].mean() < 2)
    assert page.requests() == []


def page_border(page):
    return float(page.one("#contour input[type=number]").get_attribute("value"))


def test_a_slider_moved_by_keyboard_draws_again(page):
    page.drop("#photo", SCRATCH)
    page.wait_for_result("wood_scratch.jpg")
    page.set_slider("#contour", 0)
    wait_for(lambda: "100.0%" in page.one("#one img.photo").get_attribute("alt"))
    before = page.picture()
    page.one("#fade input[type=range]").send_keys(Keys.HOME)
    wait_for(lambda: np.abs(page.picture() - before).max() > 60)  # where the scratch is


def test_heatmap_and_photograph_are_compared_and_zoomed(page):
    page.drop("#photo", SCRATCH)
    page.wait_for_result("wood_scratch.jpg")
    divide = page.one("#one .divide")
    divide.send_keys(*[Keys.ARROW_RIGHT] * 3)
    style = "return getComputedStyle(document.querySelector('#one canvas')).clipPath"
    assert page.browser.execute_script(style) == "inset(0px 0px 0px 3%)"
    before = page.one("#one img.photo").size["width"]
    page.one("#one button[aria-label='Zoom in']").click()
    wait_for(lambda: page.one("#one img.photo").size["width"] == pytest.approx(1.5 * before, rel=0.02))
    page.one("#one button[aria-label='Zoom out']").click()
    wait_for(lambda: page.one("#one img.photo").size["width"] == before)


def test_the_value_under_the_pointer_is_told(page, expected):
    page.drop("#photo", SCRATCH)
    page.wait_for_result("wood_scratch.jpg")
    ActionChains(page.browser).move_to_element(page.one("#one .stage")).perform()
    told = wait_for(lambda: page.text("#one .value"))
    values = expected["wood_scratch.jpg"]["anomaly_map"].numpy()
    height, width = values.shape
    near = values[height // 2 - 4 : height // 2 + 5, width // 2 - 4 : width // 2 + 5]
    assert near.min() - 0.01 <= float(told.removesuffix(" here")) <= near.max() + 0.01

    button = page.all("#one .regions button")[0]
    button.click()
    told = wait_for(lambda: page.text("#one .value").startswith("Region") and page.text("#one .value"))
    region = expected["wood_scratch.jpg"]["regions"][0]
    peak, area = map(float, re.fullmatch(r"Region: peak (.*), (.*) pixels", told).groups())
    assert peak == pytest.approx(region["peak"], abs=0.01)
    assert area == pytest.approx(region["area"], rel=0.02)  # the page has maps of 8 bits
    assert page.one("#one canvas.crop").is_displayed()
    assert len(page.all("#one .regions button")) >= len(expected["wood_scratch.jpg"]["regions"]) > 0


def test_overlay_and_map_are_downloaded_at_the_photographs_own_size(page, tmp_path):
    Image.open(SCRATCH).resize((1500, 1200)).save(tmp_path / "<b>large<b>.png")
    page.drop("#photo", tmp_path / "<b>large<b>.png")
    page.wait_for_result("<b>large<b>.png")
    overlay, values = (httpx.get(link.get_attribute("href")) for link in page.all("#one .downloads a")[:2])
    assert Image.open(io.BytesIO(overlay.content)).size == (1500, 1200)
    picture = Image.open(io.BytesIO(values.content))
    assert (picture.mode, picture.size) == ("I;16", (1500, 1200))
    assert values.headers["content-disposition"] == "attachment; filename*=UTF-8''%3Cb%3Elarge%3Cb%3E.png.map.png"
    assert values.headers["cache-control"] == "no-store"
    regions, report = (httpx.get(link.get_attribute("href")) for link in page.all("#one .downloads a")[2:])
    assert regions.json()["path"] == "<b>large<b>.png"
    assert (regions.json()["width"], regions.json()["height"]) == (1500, 1200)
    assert all(set(region) == {"box", "area", "peak", "mean"} for region in regions.json()["regions"])
    assert "&lt;b&gt;large&lt;b&gt;.png" in report.text
    assert "<b>large" not in report.text


def test_tiles_are_seen_of_a_large_photograph(page, tmp_path):
    Image.open(SCRATCH).resize((800, 600)).save(tmp_path / "large.png")
    page.drop("#photo", tmp_path / "large.png")
    page.wait_for_result("large.png")
    assert page.all("#one .note") == []
    page.one("#tiles input").click()
    assert page.text("#one .note").startswith("Seen in 12 tiles too.")
    page.one("#tiles input").click()
    wait_for(lambda: page.all("#one anomaly-result canvas") and not page.all("#one .note"))


def test_the_newest_photograph_wins_and_its_name_stands_at_the_result(page, monkeypatch):
    entered, names = [], []
    from modeling_fbclip.demo.examiner import Examiner

    find = Examiner.find

    def slowly(self, photo, *arguments):
        entered.append(photo.name)
        if len(entered) == 1:
            wait_for(lambda: "wood_good" in page_text(page))
        return find(self, photo, *arguments)

    monkeypatch.setattr(Examiner, "find", slowly)
    page.drop("#photo", SCRATCH)
    wait_for(lambda: entered)
    page.drop("#photo", EXAMPLES / "wood_good.jpg")
    page.wait_for_result("wood_good.jpg")
    names = entered[:]
    assert names == ["wood_scratch.jpg", "wood_good.jpg"]
    assert page.text("#one .file .name") == "wood_good.jpg"


def page_text(page):
    return httpx.get(f"{page.url}config").text and page.browser.find_element(By.ID, "one").text


def test_the_keyboard_reaches_drop_zone_samples_and_every_slider(page):
    reached = set()
    for _ in range(60):
        ActionChains(page.browser).send_keys(Keys.TAB).perform()
        reached |= set(
            page.browser.execute_script(
                "const found = []; for (let e = document.activeElement; e; e = e.parentElement) found.push(e.id);"
                "return found"
            )
        )
    assert {"photo", "examples", "good", "fade", "threshold", "contour"} <= reached


def test_a_text_file_named_png_gives_a_message(page, tmp_path, expected):
    (tmp_path / "<img src=x> {{7}} ${1+1}.png").write_text("Dear inspector,")
    page.drop("#photo", tmp_path / "<img src=x> {{7}} ${1+1}.png")
    assert (
        page.text("#one .message")
        == "<img src=x> {{7}} ${1+1}.png: not an image that can be read here; send JPEG, PNG, WebP or TIFF."
    )
    assert page.all("#one img") == []
    page.drop("#photo", EXAMPLES / "wood_good.jpg")
    page.wait_for_result("wood_good.jpg")
    assert page.text("#one .verdict .label") == expected["wood_good.jpg"]["label"]


def test_the_camera_takes_a_photograph(page):
    page.one("#photo button[aria-label='Capture from camera']").click()
    grant = "//*[@id='photo']//button[contains(., 'Webcam')]"
    wait_for(lambda: page.browser.find_elements(By.XPATH, grant))[0].click()
    capture = page.one("#photo button[aria-label='capture photo']")
    wait_for(lambda: page.browser.execute_script(CAMERA_SHOWS))
    capture.click()
    assert re.fullmatch(r"0\.\d{3}", page.text("#one .score"))
    # Gradio's camera asks for the progress of an upload without an id, and gets an error.
    assert all("upload_progress?upload_id= " in error or "Response" in error for error in page.errors())


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 1100), (390, 844)])
def test_the_page_suits_screens_and_everybody(page, width, height, scheme):
    with page.screen(width, height, scheme):
        (sample,) = [button for button in page.all("#examples button") if button.text == "wood scratch"]
        in_view = page.all("#examples button")[0].location["y"] + 44
        assert in_view < height, "the samples are in view"
        sample.click()
        page.wait_for_result("wood_scratch.jpg")
        top = "return document.querySelector('#one .verdict').getBoundingClientRect().top"
        wait_for(lambda: 0 <= page.browser.execute_script(top) < height / 2)
        page.screenshot(f"demo-{width}-{scheme}.png")
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width
        photo = page.one("#one img.photo").size
        ratio = Image.open(SCRATCH).width / Image.open(SCRATCH).height
        assert photo["width"] / photo["height"] == pytest.approx(ratio, rel=0.02)  # it is shown whole
        assert page.browser.execute_script(SMALL_TARGETS) == []
        assert page.serious_faults() == []


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 1100, "light"), (390, 844, "dark")])
def test_every_part_of_the_page_suits_everybody(page, width, height, scheme):
    with page.screen(width, height, scheme):
        for part in ("Model and prompts", "Beside it", "For programs"):
            page.click_text(part)
        page.click_tab("Several images")
        page.drop("#files", EXAMPLES / "wood_good.jpg", SCRATCH)
        wait_for(lambda: len(page.all("#many .gallery canvas")) == 2)
        wait_for(lambda: page.one("#both").is_displayed())
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert page.browser.execute_script(SMALL_TARGETS) == []
        assert page.serious_faults() == []
        page.all("#many .enlarge")[0].click()
        wait_for(lambda: page.all("dialog[open] canvas"))
        assert page.serious_faults() == []


# A photograph that is taken before the camera's first frame is empty.
CAMERA_SHOWS = """
const video = document.querySelector("#photo video");
return video !== null && video.readyState >= 2 && video.videoWidth > 0;
"""

# What can be tapped and is less than 44 pixels high, where nothing else can be tapped instead.
SMALL_TARGETS = """
return [...document.querySelectorAll("button, a[href], input:not([type=file]), textarea, select")].filter(target => {
  const box = (target.type === "checkbox" ? target.closest("label") : target).getBoundingClientRect();
  return box.height > 1 && box.height < 43.5 && getComputedStyle(target).visibility !== "hidden";
}).map(target => target.outerHTML.slice(0, 160) + " " + target.getBoundingClientRect().height);
"""
