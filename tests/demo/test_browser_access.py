"""The page on screens of two sizes, in light and dark, by keyboard and for screen readers, in Chromium."""

import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys

from .conftest import EXAMPLES, SCRATCH, wait_for


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
        wait_for(lambda: f'Client("{page.url}")' in page.browser.find_element("tag name", "body").text)
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


# What can be tapped and is less than 44 pixels high, where nothing else can be tapped instead.
SMALL_TARGETS = """
return [...document.querySelectorAll("button, a[href], input:not([type=file]), textarea, select")].filter(target => {
  const box = (target.type === "checkbox" ? target.closest("label") : target).getBoundingClientRect();
  return box.height > 1 && box.height < 43.5 && getComputedStyle(target).visibility !== "hidden";
}).map(target => target.outerHTML.slice(0, 160) + " " + target.getBoundingClientRect().height);
"""
