"""The page in Chromium, with its elements by CSS selectors."""

import base64
import io
import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from .conftest import ROOT, wait_for

OUTPUTS = ROOT / "outputs"
AXE = Path(__file__).parent / "axe" / "axe.min.js"
# What a result shows: the photograph with the drawn map over it.
COMPOSED = """
const result = document.querySelector(arguments[0]), drawn = document.createElement("canvas");
[drawn.width, drawn.height] = [result.canvas.width, result.canvas.height];
const context = drawn.getContext("2d");
context.drawImage(result.photo, 0, 0, drawn.width, drawn.height);
context.drawImage(result.canvas, 0, 0);
return drawn.toDataURL("image/png");
"""


class Page:
    """The page, newly opened."""

    def __init__(self, browser: WebDriver, url: str) -> None:
        self.browser = browser
        self.url = url
        self.open()

    def open(self):
        self.browser.get_log("browser")
        self.browser.get_log("performance")
        self.browser.get(self.url)
        wait_for(lambda: self.all("#photo input[type=file]") and self.all("#examples button img"))

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return wait_for(lambda: self.all(selector))[0]

    def text(self, selector):
        return self.one(selector).text

    def drop(self, area, *paths):
        wait_for(lambda: self.all(f"{area} input[type=file]"))[0].send_keys("\n".join(map(str, paths)))

    def wait_for_result(self, name, selector="#one anomaly-result"):
        """Waits for the drawn result of a file."""
        script = "const found = document.querySelector(arguments[0]); return found?.canvas ? found.dataset.name : null"
        wait_for(lambda: self.browser.execute_script(script, selector) == name)

    def picture(self, selector="#one anomaly-result"):
        data = self.browser.execute_script(COMPOSED, selector).removeprefix("data:image/png;base64,")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), dtype=int)

    def set_slider(self, selector, value):
        box = self.one(f"{selector} input[type=number]")
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(str(value), Keys.TAB)

    def screenshot(self, name):
        OUTPUTS.mkdir(exist_ok=True)
        self.browser.save_screenshot(str(OUTPUTS / name))

    def click_text(self, text):
        """Clicks the button that reads so."""
        self.browser.find_element(By.XPATH, f"//button[contains(normalize-space(), '{text}')]").click()

    def click_tab(self, name):
        self.browser.find_element(By.XPATH, f"//button[@role='tab' and normalize-space()='{name}']").click()

    def serious_faults(self):
        """What axe-core finds of the impact serious or critical, as rule and element."""
        self.browser.execute_script(AXE.read_text(encoding="utf-8"))
        found = self.browser.execute_async_script("axe.run().then(arguments[0])")
        return [
            (fault["id"], node["html"][:200])
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    def errors(self):
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self):
        """The addresses that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if url.startswith("http")]

    @contextmanager
    def screen(self, width, height, scheme):
        """A screen of this size, that of a phone if it is narrow, in light or dark."""
        emulate, is_phone = self.browser.execute_cdp_cmd, width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}
        emulate("Emulation.setDeviceMetricsOverride", size)
        emulate("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        try:
            self.open()
            yield
        finally:
            emulate("Emulation.clearDeviceMetricsOverride", {})
            emulate("Emulation.setEmulatedMedia", {"features": []})
