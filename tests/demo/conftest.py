"""The demo with the bundled model, served from this process, and a browser."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import pytest
from gradio_client import Client
from modeling_fbclip.demo.server import serving
from selenium import webdriver

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "demo" / "examples"
INSTALL_CHROMIUM = "apt-get install --no-install-recommends chromium chromium-driver"
CHROMIUM_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)


class Demo(NamedTuple):
    url: str
    app: gr.Blocks
    folder: Path  # where the server stores files

    def files(self) -> list[str]:
        """Names of the stored files."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    with serving() as app:
        yield Demo(app.local_url, app, Path(app.GRADIO_CACHE))


@pytest.fixture
def client(demo: Demo, tmp_path: Path) -> Iterator[Client]:
    connected = Client(demo.url, verbose=False, download_files=tmp_path / "downloads")
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip(f"no Chromium here; {INSTALL_CHROMIUM}")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in CHROMIUM_FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.add_argument("--window-size=1280,1100")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def wait_for(condition, seconds: float = 60):
    """The first true value of `condition()`. Other tests may run at the same time, so the limit is long."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"no result after {seconds} seconds"
        time.sleep(0.05)
    return value
