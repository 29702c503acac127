"""The page in Chromium: a visitor drops images, moves sliders and reads the results."""

import base64
import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from modeling_fbclip import ZeroShotAnomalyDetectionPipeline, load_bundled

from .conftest import EXAMPLES, ROOT, wait_for

OUTPUTS = ROOT / "outputs"
SAMPLES = [path.name for path in EXAMPLES.glob("*.jpg")]


class Page:
    """The page in Chromium, with its elements by CSS selectors."""

    def __init__(self, browser: WebDriver, url: str) -> None:
        self.browser = browser
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(url)
        wait_for(lambda: self.all("#photo input[type=file]") and self.all("#examples button img"))

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return wait_for(lambda: self.all(selector))[0]

    def text(self, selector):
        return self.one(selector).text

    def drop(self, area, *paths):
        wait_for(lambda: self.all(f"{area} input[type=file]"))[0].send_keys("\n".join(map(str, paths)))

    def picture(self, selector="#one img"):
        data = self.one(selector).get_attribute("src").removeprefix("data:image/jpeg;base64,")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), dtype=int)

    def set_slider(self, selector, value):
        box = self.one(f"{selector} input[type=number]")
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(str(value), Keys.TAB)

    def screenshot(self, name):
        OUTPUTS.mkdir(exist_ok=True)
        self.browser.save_screenshot(str(OUTPUTS / name))

    def click_tab(self, name):
        self.browser.find_element(By.XPATH, f"//button[@role='tab' and normalize-space()='{name}']").click()

    def errors(self):
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]

    def foreign_requests(self):
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if url.startswith("http") and not url.startswith("http://127.0.0.1:")]


@pytest.fixture
def page(chromium, demo):
    opened = Page(chromium, demo.url)
    yield opened
    assert opened.errors() == []
    assert opened.foreign_requests() == []
    chromium.get("about:blank")


@pytest.fixture(scope="module")
def expected():
    """The pipeline's results for the sample photographs of wood, by file name."""
    model, processor = load_bundled()
    detect = ZeroShotAnomalyDetectionPipeline(model=model, processor=processor)
    return {path.name: detect(path) for path in EXAMPLES.glob("wood_*.jpg")}


def test_a_visitor_uploads_reads_and_moves_the_sliders(page, demo, expected):
    page.drop("#photo", EXAMPLES / "wood_scratch.jpg")
    label, score = expected["wood_scratch.jpg"]["label"], expected["wood_scratch.jpg"]["score"]
    assert page.text("#one .verdict .label") == label
    assert float(page.text("#one .score")) == pytest.approx(score, abs=6e-4)
    page.screenshot("demo-one.png")

    page.set_slider("#threshold", round(score + (0.01 if label == "anomalous" else -0.01), 3))
    wait_for(lambda: page.text("#one .verdict .label") not in ("", label))
    assert float(page.text("#one .score")) == pytest.approx(score, abs=6e-4)

    contoured = page.picture()
    page.set_slider("#contour", 0.99)
    wait_for(lambda: "0.0%" in page.one("#one img").get_attribute("alt"))
    without_contour = page.picture()
    assert (contoured.min(axis=2) > 240).sum() > (without_contour.min(axis=2) > 240).sum()

    page.set_slider("#fade", 0)
    photograph = np.asarray(Image.open(EXAMPLES / "wood_scratch.jpg").convert("RGB"), dtype=int)
    wait_for(lambda: np.abs(page.picture() - photograph).mean() < 2)  # JPEG is lossy
    wait_for(lambda: demo.files() == sorted(SAMPLES))


def test_a_slider_moved_by_keyboard_redraws_the_picture_without_the_model(page, monkeypatch):
    page.drop("#photo", EXAMPLES / "wood_scratch.jpg")
    before = page.picture()
    monkeypatch.setattr("modeling_fbclip.demo.examiner.Examiner.find", None)
    page.one("#fade input[type=range]").send_keys(Keys.HOME)
    wait_for(lambda: np.abs(page.picture() - before).max() > 60)  # where the scratch is


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
    assert {"photo", "examples", "fade", "threshold", "contour"} <= reached


def test_a_text_file_named_png_gives_a_message(page, tmp_path, expected):
    (tmp_path / "letter.png").write_text("Dear inspector,")
    page.drop("#photo", tmp_path / "letter.png")
    assert (
        page.text("#one .message") == "letter.png: not an image that can be read here; send JPEG, PNG, WebP or TIFF."
    )
    page.drop("#photo", EXAMPLES / "wood_good.jpg")
    assert page.text("#one .verdict .label") == expected["wood_good.jpg"]["label"]


def test_a_click_examines_a_sample_photograph(page, expected):
    page.all("#examples button img")[sorted(SAMPLES).index("wood_scratch.jpg")].click()
    assert page.text("#one .verdict .label") == expected["wood_scratch.jpg"]["label"]


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
    (tmp_path / "letter.png").write_text("no image")
    page.click_tab("Several images")
    names = ["wood_good.jpg", "wood_scratch.jpg"]
    page.drop("#files", *[EXAMPLES / name for name in names], tmp_path / "letter.png")
    wait_for(lambda: len(page.all("#many .gallery img")) == 2)
    page.screenshot("demo-several.png")
    link = page.one("#many a[download='fbclip.csv']").get_attribute("href")
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(link.split(",")[1]).decode())))
    assert [row["image"] for row in rows] == [*names, "letter.png"]
    assert [row["label"] for row in rows] == [*(expected[name]["label"] for name in names), ""]
    assert rows[2]["error"].startswith("letter.png: not an image")
    page.set_slider("#threshold", 0.99)
    wait_for(lambda: "anomalous" not in page.text("#many .gallery"))


def test_other_prompts_change_the_score_and_a_wrong_model_gives_a_message(page):
    page.drop("#photo", EXAMPLES / "wood_scratch.jpg")
    score = page.text("#one .score")
    page.browser.find_element(By.XPATH, "//button[contains(., 'Model and prompts')]").click()
    wait_for(lambda: page.one("#normal textarea, #normal input").is_displayed())
    assert page.one("#normal textarea, #normal input").get_attribute("value") == "object without defect ."
    box = page.one("#anomalous textarea, #anomalous input")
    box.clear()
    box.send_keys("scratched wood")
    page.one("#apply").click()
    wait_for(lambda: page.text("#one .score") != score)

    model = page.one("#model input")
    model.send_keys(Keys.CONTROL, "a")
    model.send_keys("/etc/passwd", Keys.ENTER)
    wait_for(lambda: "is not in the list of models" in page.browser.find_element(By.TAG_NAME, "body").text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_width_of_a_phone(page, demo, scheme):
    emulate = page.browser.execute_cdp_cmd
    emulate(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    emulate("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        page.browser.get(demo.url)
        page.drop("#photo", EXAMPLES / "wood_scratch.jpg")
        page.one("#one img")
        page.screenshot(f"demo-phone-{scheme}.png")
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= 390
        luminances = page.browser.execute_script(LUMINANCES)
        assert (luminances["background"] > luminances["text"]) == (scheme == "light")
        assert abs(luminances["background"] - luminances["text"]) > 120
    finally:
        emulate("Emulation.clearDeviceMetricsOverride", {})
        emulate("Emulation.setEmulatedMedia", {"features": []})


# A photograph that is taken before the camera's first frame is empty.
CAMERA_SHOWS = """
const video = document.querySelector("#photo video");
return video !== null && video.readyState >= 2 && video.videoWidth > 0;
"""

# The mean of red, green and blue: of the decision's text, and of its background.
LUMINANCES = """
const style = getComputedStyle(document.querySelector("#one .verdict"));
const mean = colour => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, x) => sum + Number(x), 0) / 3;
return {background: mean(style.backgroundColor), text: mean(style.color)};
"""
