"""The README's screenshots of the page: `make screenshots` writes them to `demo/`."""

import contextlib

from demo.conftest import EXAMPLES, ROOT
from modeling_fbclip.demo.server import serving

from conftest import open_chromium
from demo.page import Page

DEMO = ROOT / "demo"


def main() -> None:
    with serving() as app, open_chromium() as browser:
        page = Page(browser, app.local_url)
        for name, (width, height), scheme in (
            ("screenshot.png", (1280, 1000), "light"),
            ("screenshot-phone.png", (390, 844), "dark"),
        ):
            with page.screen(width, height, scheme):
                page.drop("#photo", EXAMPLES / "wood_gouged.jpg")
                page.wait_for_result("wood_gouged.jpg")
                browser.save_screenshot(str(DEMO / name))
                print(f"wrote demo/{name}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
