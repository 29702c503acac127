"""The report of a thousand images in Chromium: what an inspector sees, clicks and types."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.processes import ALONE
from modeling_fbclip.detection.report import write_report
from modeling_fbclip.detection.report_entries import collecting
from modeling_fbclip.detection.results import Results
from modeling_fbclip.detection.rows import Row
from modeling_fbclip.detection.sources import Item
from modeling_fbclip.detection.thumbnails import make_thumbnails

COUNT, FAILED = 1000, 20
HOSTILE = "parts/<img src=x onerror='document.title=1'></script><script>document.title=1</script>.jpg"
REGIONS = [
    {"box": [40, 30, 140, 130], "area": 700, "peak": 0.9, "mean": 0.5},
    {"box": [250, 200, 254, 204], "area": 12, "peak": 0.25, "mean": 0.125},
]


def make_rows() -> list[Row]:
    """Scores from 0.000 to 0.979 in disorder, anomalous from 0.5 on, and images that failed."""
    scores = np.random.default_rng(0).permutation(COUNT - FAILED) / 1000
    found = [
        Row(f"parts/{index:04}.jpg", score, "anomalous" if score >= 0.5 else "normal", regions=REGIONS)
        for index, score in enumerate(scores.tolist())
    ]
    found[7] = found[7]._replace(path=HOSTILE)
    return found + [Row(f"parts/broken-{index}.jpg", error="not an image") for index in range(FAILED)]


def make_result(seed: int) -> tuple[Image.Image, dict[str, Any]]:
    """A grey texture with an anomalous square."""
    pixels = np.random.default_rng(seed).integers(60, 140, (300, 400, 3), dtype=np.uint8)
    anomaly_map = np.zeros((300, 400), np.float32)
    anomaly_map[30:130, 40:140] = 0.9
    return Image.fromarray(pixels), {"anomaly_map": anomaly_map, "mask": anomaly_map > 0.5, "regions": REGIONS}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, folder = make_tiny_model(), tmp_path_factory.mktemp("report")
    results = Results(Detector(model, FBCLIPProcessor.from_config(model.config)), Path("/parts"), folder, False, False)
    made = [(picture, result, make_thumbnails(picture, result)) for picture, result in map(make_result, range(10))]
    with pytest.MonkeyPatch.context() as patch, collecting(None, ALONE) as entries:
        for index, row in enumerate(make_rows()):
            picture, result, thumbnails = made[index % len(made)] if row.label else (None, None, None)
            patch.setattr(
                "modeling_fbclip.detection.report_entries.make_thumbnails", lambda *_, ready=thumbnails: ready
            )
            entries.add(Item(0, index, row.path, None, str), row, picture, result)
        write_report(folder / "report.html", "my-model", results, entries, None)
    return folder / "report.html"


class Page:
    """The report in Chromium."""

    def __init__(self, browser: Any, file: Path) -> None:
        self.browser, self.run = browser, browser.execute_script
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(file.as_uri())

    def one(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def visible_scores(self) -> list[float]:
        return self.run("return [...document.querySelectorAll('article:not([hidden])')].map(x => +x.dataset.score)")

    def shown(self) -> str:
        return self.one("#shown").text

    def requests(self) -> list[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]


@pytest.fixture
def page(chromium: Any, report: Path) -> Iterator[Page]:
    opened = Page(chromium, report)
    yield opened
    assert chromium.get_log("browser") == []
    assert opened.requests() == [report.as_uri()]
    chromium.get("about:blank")


def test_images_are_sorted_and_the_file_is_small_enough(page: Page, report: Path) -> None:
    scores = page.visible_scores()
    assert len(scores) == COUNT
    assert scores[: COUNT - FAILED] == [score / 1000 for score in range(COUNT - FAILED - 1, -1, -1)]
    assert page.run("return document.querySelectorAll('article[data-score]').length") == COUNT - FAILED
    assert page.shown() == "1000 of 1000 images, the highest score first"
    assert report.stat().st_size < 100e6


def test_a_hostile_name_is_text(page: Page) -> None:
    assert page.browser.title == "parts: what was found"
    names = page.run("return [...document.querySelectorAll('h2')].map(x => x.textContent)")
    assert names.count(HOSTILE) == 1
    assert page.all("h2 *") == []


def test_filters_by_decision_and_by_score_count_right(page: Page) -> None:
    for outcome, count in (("anomalous", 480), ("normal", 500), ("failed", 20), ("", 1000)):
        page.one(f"#decision option[value='{outcome}']").click()
        assert len(page.visible_scores()) == count
        assert page.shown().startswith(f"{count} of 1000 images")
    page.one("#lowest").send_keys("0.25")
    page.one("#highest").send_keys("0.75")
    assert sorted(page.visible_scores()) == [score / 1000 for score in range(250, 751)]
    page.one("#decision option[value='anomalous']").click()
    assert page.shown().startswith("251 of 1000 images")
    page.one("#lowest").send_keys(Keys.BACKSPACE * 4)
    page.one("#highest").send_keys(Keys.BACKSPACE * 4)
    assert page.shown().startswith("480 of 1000 images")


def test_the_slider_uncovers_the_photograph_by_keyboard(page: Page) -> None:
    slider = page.one(".slider input")
    clip = "return getComputedStyle(document.querySelector('.after')).clipPath"
    assert page.run(clip).replace("calc(100% - 100%)", "0%") == "inset(0px 0% 0px 0px)"
    slider.send_keys(Keys.HOME)
    assert "100%" in page.run(clip).replace("calc(100% - 0%)", "100%")
    slider.send_keys(Keys.ARROW_RIGHT * 3)
    assert page.run("return document.querySelector('.frame').style.getPropertyValue('--shown')") == "3%"
    assert page.run("return document.querySelectorAll('.frame')[1].style.length") == 0  # the others stay


@pytest.mark.parametrize("way", ["hover over the picture", "focus in the list", "click on the list"])
def test_a_region_says_its_values(page: Page, way: str) -> None:
    second = page.all("article:first-of-type button")[1]
    assert page.one(".value").text == ""
    if way == "hover over the picture":
        ActionChains(page.browser).move_to_element(page.all("article:first-of-type rect")[1]).perform()
    elif way == "click on the list":
        second.click()
    else:
        page.all("article:first-of-type button")[0].send_keys(Keys.TAB)
        assert page.browser.switch_to.active_element == second
    assert page.one(".value").text == "region 2: peak 0.250, mean 0.125, 12 pixels within 250, 200 and 254, 204"
    assert [box.get_attribute("class") or "" for box in page.all("article:first-of-type rect")] == ["", "chosen"]


def test_the_keyboard_reaches_every_control_in_order_and_each_has_a_name(page: Page) -> None:
    reached = []
    for _ in range(8):
        ActionChains(page.browser).send_keys(Keys.TAB).perform()
        element = page.browser.switch_to.active_element
        reached.append((element.aria_role, element.accessible_name))
    name = page.one("h2").text
    assert reached[1:7] == [
        ("combobox", "Decision"),
        ("spinbutton", "Score from"),
        ("spinbutton", "Score to"),
        ("slider", f"How much of {name} is under the heatmap, from the left, in percent"),
        ("button", "region 1: peak 0.900, mean 0.500, 700 pixels within 40, 30 and 140, 130"),
        ("button", "region 2: peak 0.250, mean 0.125, 12 pixels within 250, 200 and 254, 204"),
    ]
    assert [image.accessible_name for image in page.all("article:first-of-type img")] == [
        f"Photograph {name}",
        "Heatmap over it",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_text_is_readable_and_targets_are_large_on_a_phone(page: Page, scheme: str, width: int) -> None:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 1000}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < 1000})
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        page.run("document.querySelector('details').open = true; document.querySelector('button').click()")
        assert page.run("return document.documentElement.scrollWidth") <= width
        contrasts = page.run(CONTRASTS)
        assert len(contrasts) > 10
        assert min(contrasts.values()) >= 4.5, contrasts
        bright = page.run("return getComputedStyle(document.body).backgroundColor")
        assert (bright == "rgb(244, 245, 247)") == (scheme == "light")
        if width < 1000:
            assert min(min(target) for target in page.run(TARGETS)) >= 44
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_thousand_images_scroll_without_a_halt(page: Page) -> None:
    page.browser.set_script_timeout(60)
    longest = page.browser.execute_async_script(SCROLL)
    assert longest < 500  # milliseconds between two pictures on the screen; two tests may share a processor


# The contrast of each kind of text with what is behind it, as WCAG defines it.
CONTRASTS = """
const part = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = ([red, green, blue]) => 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue);
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
function behind(element) {
  for (; element; element = element.parentElement) {
    const colour = numbers(getComputedStyle(element).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
}
const found = {};
for (const element of document.querySelectorAll("body *:not(script):not(svg *)")) {
  const text = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim() !== "");
  if (!text && !element.matches("input[type=number]")) continue;
  const [light, dark] = [numbers(getComputedStyle(element).color), behind(element)]
    .map(luminance).sort((one, other) => other - one);
  const kind = `${element.parentElement.className} ${element.localName}.${element.className}`;
  found[kind] = Math.min(found[kind] ?? 21, (light + 0.05) / (dark + 0.05));
}
return found;
"""

TARGETS = """
return [...document.querySelectorAll("select, input, summary, article:nth-of-type(-n+3) button")].slice(0, 20)
  .map(element => element.getBoundingClientRect()).map(({width, height}) => [width, height]);
"""

SCROLL = """
const done = arguments[arguments.length - 1];
let longest = 0, last = performance.now(), top = 0;
requestAnimationFrame(function step(now) {
  longest = Math.max(longest, now - last);
  last = now;
  top += document.documentElement.scrollHeight / 60;
  scrollTo(0, top);
  if (top < document.documentElement.scrollHeight) requestAnimationFrame(step); else done(longest);
});
"""
