"""The page in Chromium: a visitor drops images, moves sliders and reads the results."""

import io
import re

import httpx
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from .conftest import EXAMPLES, SCRATCH, wait_for


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


# A photograph that is taken before the camera's first frame is empty.
CAMERA_SHOWS = """
const video = document.querySelector("#photo video");
return video !== null && video.readyState >= 2 && video.videoWidth > 0;
"""
