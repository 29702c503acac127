"""The demo with the bundled model, served from this process, and a browser."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import pytest
from gradio_client import Client
from modeling_fbclip.demo.server import serving
from selenium.common.exceptions import StaleElementReferenceException

from modeling_fbclip import ZeroShotAnomalyDetectionPipeline, load_bundled

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "demo" / "examples"
SCRATCH = EXAMPLES / "wood_scratch.jpg"


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


@pytest.fixture
def page(chromium: Any, demo: Demo) -> Iterator[Any]:
    """The page in Chromium. Nothing is logged as an error, and no other server is asked."""
    from .page import Page  # which imports from here

    opened = Page(chromium, demo.url)
    yield opened
    assert opened.errors() == []
    assert [url for url in opened.requests() if not url.startswith("http://127.0.0.1:")] == []
    chromium.get("about:blank")


@pytest.fixture(scope="session")
def expected() -> dict[str, dict[str, Any]]:
    """The pipeline's results for the sample photographs of wood, by file name."""
    model, processor = load_bundled()
    detect = ZeroShotAnomalyDetectionPipeline(model=model, processor=processor)
    return {path.name: detect(path) for path in EXAMPLES.glob("wood_*.jpg")}


def wait_for(condition, seconds: float = 60):
    """
    The first true value of `condition()`. Other tests may run at the same time, so the limit is long. An element that
    the page draws anew meanwhile is looked for again.
    """

    def met():
        try:
            return condition()
        except StaleElementReferenceException:
            return None

    end = time.monotonic() + seconds
    while not (value := met()):
        assert time.monotonic() < end, f"no result after {seconds} seconds"
        time.sleep(0.05)
    return value
