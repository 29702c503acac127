"""The page that computes in the browser: the numbers of Python, and nothing leaves it."""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from modeling_fbclip.demo.make_page import FETCHED, build_page
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.detection.loading import load_detector


@pytest.fixture
def served(own_copy, tmp_path):
    """The page of the tiny export, on a port of this machine."""
    if not FETCHED.is_dir():
        pytest.skip("no onnxruntime-web here; python demo/make_page.py --fetch takes it from the package registry")
    processor = FBCLIPProcessor.from_pretrained(own_copy.folder)
    processor.score = "map_max"
    processor.to_json_file(own_copy.folder / "processor_config.json")
    build_page(own_copy.folder, tmp_path / "static")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "static")
    handler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_the_browser_finds_the_same_score_and_map(served, own_copy, chromium, tmp_path):
    photograph = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(60, 200, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((150, 110), Image.Resampling.BICUBIC).save(photograph)
    detector = load_detector(str(own_copy.folder))
    expected = detector(Image.open(photograph))
    small = detector.processor.post_process_anomaly_detection(
        detector.model(detector.processor(images=[photograph])["pixel_values"])
    )[0]

    chromium.get_log("performance")
    chromium.get(served)
    wait = WebDriverWait(chromium, 60)
    wait.until(lambda browser: browser.find_element(By.ID, "status").text == "Ready.")
    chromium.find_element(By.ID, "file").send_keys(str(photograph))
    wait.until(lambda browser: "photo.png is done" in browser.find_element(By.ID, "status").text)
    assert chromium.find_element(By.ID, "label").text == expected["label"]
    assert float(chromium.find_element(By.ID, "score").text) == pytest.approx(expected["score"], abs=1e-3)
    found = chromium.execute_script("return Array.from(window.lastResult.map)")
    np.testing.assert_allclose(np.reshape(found, (32, 32)), small["anomaly_map"].numpy(), rtol=0, atol=1e-3)
    assert chromium.execute_script("return document.getElementById('map').width") == 150
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    sent = [each["params"]["request"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert sent
    assert all(request["url"].startswith((served, "blob:", "data:")) for request in sent)
    assert {request["method"] for request in sent} == {"GET"}


def test_what_is_no_image_is_said_on_the_page(served, chromium, tmp_path):
    (tmp_path / "notes.png").write_text("no image")
    chromium.get(served)
    chromium.find_element(By.ID, "file").send_keys(str(tmp_path / "notes.png"))
    wait = WebDriverWait(chromium, 60)
    wait.until(lambda browser: "cannot be examined" in browser.find_element(By.ID, "status").text)
