"""The report of a run: its table, its curves, and one file that needs no other and names no folder."""

import re

import pytest
from selenium.webdriver.common.by import By

from modeling_fbclip.training.curves import Curves
from modeling_fbclip.training.report import epochs_table, write_training_report

HOSTILE = "<script>document.title = 1</script>"
EPOCHS = [
    {"epoch": 0, "step": 0, "loss": 0.41, "image_auroc": 0.81, "pixel_aupro": 0.7, "value": 0.755, "is_best": False},
    {"epoch": 1, "step": 9, "loss": 0.3, "image_auroc": 0.9, "pixel_aupro": 0.75, "value": 0.825, "is_best": True},
    {"epoch": 2, "step": 18, "loss": None, "image_auroc": 0.85, "pixel_aupro": None, "value": 0.85, "is_best": False},
]
LOG = [{"step": step, "epoch": step / 9, "loss": 0.5 - step / 100} for step in range(1, 19)]
LOG.insert(9, {"step": 9, "epoch": 1.0, "validation_loss": 0.3})


def record_of(epochs):
    return {
        "arguments": {"model": "bundled", "epochs": 2, "learning_rate": 5e-4, "max_grad_norm": None},
        "origins": {"epochs": "given", "learning_rate": "the model's"},
        "data": {"images": 120, "normal": 100, "categories": ["nut", HOSTILE]},
        "result": {"steps": 18, "threshold": 0.625, "pixel_threshold": 0.5},
        "environment": {"python": "3.11", "packages": {"torch": "2.8"}},
        "epochs": epochs,
    }


def test_the_table_has_a_row_an_epoch_and_marks_the_best():
    assert epochs_table(EPOCHS).splitlines() == [
        "     epoch    loss  image AUROC  AUPRO  mean  best",
        "0 (before)  0.4100         81.0   70.0  75.5",
        "         1  0.3000         90.0   75.0  82.5  best",
        "         2     n/a         85.0    n/a  85.0",
    ]


def test_curves_lie_within_their_axes():
    curves = Curves("Loss", {"training": {1: 0.4, 2: 0.2}, "held out": {0: 0.6, 2: 0.3}})
    assert [tick.text for tick in curves.ticks_x] == ["0", "1", "2"]
    assert [tick.text for tick in curves.ticks_y] == ["0.2", "0.4", "0.6"]
    assert [line.points for line in curves.lines] == [[(220.0, 120.0), (390.0, 210.0)], [(50.0, 30.0), (390.0, 165.0)]]
    alone = Curves("Loss", {"training": {1: 0.4}})
    assert alone.lines[0].points == [(220.0, 120.0)]
    many = Curves("Loss", {"training": dict.fromkeys(range(100), 1.0)})
    assert len(many.ticks_x) == 8


@pytest.fixture
def open_report(tmp_path, chromium):
    """Writes a report and opens it; nothing may be refused or requested."""

    def open_report(epochs):
        folder = tmp_path / "tuned"
        folder.mkdir()
        write_training_report(folder, record_of(epochs), LOG)
        file = folder / "training_report.html"
        assert [path.name for path in folder.iterdir()] == [file.name]
        text = file.read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert not re.search(r"https?://|url\(|@import", text)
        chromium.get_log("browser")
        chromium.get(file.as_uri())
        assert chromium.title == "tuned: training"
        assert chromium.get_log("browser") == []
        return chromium

    yield open_report
    chromium.get("about:blank")


def rows_of(browser, number):
    """The cells of a table."""
    table = browser.find_elements(By.CSS_SELECTOR, "table")[number]
    rows = table.find_elements(By.CSS_SELECTOR, "tbody tr")
    return [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")] for row in rows]


def test_the_page_has_epochs_settings_data_and_thresholds(open_report):
    page = open_report(EPOCHS)
    assert rows_of(page, 0)[1] == ["1", "0.3000", "90.0", "75.0", "82.5", "best"]
    assert rows_of(page, 1) == [
        ["epochs", "2", "given"],
        ["learning rate", "0.0005", "the model's"],
        ["max grad norm", "none", ""],
    ]
    assert "Kept is epoch 1." in page.find_element(By.TAG_NAME, "header").text
    facts = [(item.text.split("\n")) for item in page.find_elements(By.CSS_SELECTOR, "main dl div")]
    assert facts[:3] == [["images", "120"], ["normal", "100"], ["categories", f"nut, {HOSTILE}"]]
    assert facts[3:] == [["threshold", "0.625"], ["pixel threshold", "0.5"], ["steps", "18"]]
    drawings = page.find_elements(By.CSS_SELECTOR, "svg")
    assert [len(drawing.find_elements(By.CSS_SELECTOR, "polyline")) for drawing in drawings] == [3, 2]
    assert all(drawing.accessible_name for drawing in drawings)
    width = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.execute_script(width) <= 0


def test_a_run_without_held_out_images_shows_its_losses(open_report):
    page = open_report([])
    assert rows_of(page, 0) == [["1", "0.4500"], ["2", "0.3600"]]
    assert "without a comparison" in page.find_element(By.TAG_NAME, "header").text
    assert len(page.find_elements(By.CSS_SELECTOR, "svg polyline")) == 1


def test_the_start_that_is_kept_is_told(open_report):
    epochs = [epoch | {"is_best": epoch["epoch"] == 0} for epoch in EPOCHS]
    header = open_report(epochs).find_element(By.TAG_NAME, "header").text
    assert "Kept is the model before training: no epoch was better." in header
