"""The report of an evaluation: which images it shows, its curves, and one file that needs no other."""

import base64
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selenium.webdriver.common.by import By
from sklearn.metrics import precision_recall_curve

from conftest import quick
from modeling_fbclip.evaluation import evaluate
from modeling_fbclip.evaluation.ranking import Ranking
from modeling_fbclip.evaluation.report import best_and_worst, write_report

TABLE = [["category", "images"], ["a", "7"], ["mean", "7"]]


def predictions(*kinds):
    """The kind of defect of each image, `None` for a normal one, and its score."""
    return [SimpleNamespace(defect=kind, label=int(kind is not None), score=score) for kind, score in kinds]


def test_the_best_and_the_worst_of_each_kind_are_shown():
    found = best_and_worst(
        predictions(("dent", 0.9), (None, 0.1), ("dent", 0.2), (None, 0.8), ("hole", 0.5), ("dent", 0.6), (None, 0.3))
    )
    assert found == [
        ("best of dent", 0),
        ("best of dent", 5),
        ("worst of dent", 2),
        ("best of normal", 1),
        ("best of normal", 6),
        ("worst of normal", 3),
        ("best of hole", 4),
    ]


def test_of_many_images_two_are_shown_of_each_end():
    found = best_and_worst(predictions(*((None, score / 10) for score in range(10))))
    assert [index for _, index in found] == [0, 1, 9, 8]


@quick
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12), st.integers(0, 10**6))
def test_precision_and_recall_are_those_of_scikit_learn(normal, anomalous, levels, seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, normal + anomalous) / levels
    labels = np.arange(normal + anomalous) < anomalous
    recall, precision = Ranking(scores[~labels], scores[labels]).precision_recall_curve()
    expected = {}
    for height, width in list(zip(*precision_recall_curve(labels, scores)[:2], strict=True))[:-1]:
        expected[width] = max(height, expected.get(width, 0))  # of one recall, the threshold with the fewest alarms
    expected.pop(0.0, None)
    assert dict(zip(recall[1:].tolist(), precision[1:].tolist(), strict=True)) == pytest.approx(expected)
    assert (recall[0], precision[0]) == (0, precision[1])


@pytest.fixture
def pages(model, processor, dataset):
    return evaluate(model, processor, dataset, size=64, with_pages=True)["pages"]


def test_each_category_has_its_figures_and_images(pages):
    assert [page.name for page in pages] == ["a", "b"]
    for page in pages:
        assert list(page.figures) == [
            "ROC curve",
            "Precision and recall",
            "Per-region overlap",
            "Scores of both kinds, with the threshold",
        ]
        assert all(b"<svg" in base64.b64decode(svg) for svg in page.figures.values())
        assert {card["note"] for card in page.images} >= {"best of normal", "worst of anomalous"}
        assert all((card["width"], card["height"]) == (56, 40) for card in page.images)
        for card in page.images:
            assert card["label"] == ("anomalous" if card["score"] >= 0.5 else "normal")


def test_a_stream_has_figures_but_no_images(model, processor, dataset):
    stream = dataset.sort("category").to_iterable_dataset()
    pages = evaluate(model, processor, stream, size=64, with_pages=True)["pages"]
    assert [(len(page.figures), page.images) for page in pages] == [(4, []), (4, [])]


def test_the_page_shows_numbers_figures_and_images_without_a_request(pages, tmp_path, chromium):
    hostile = "<script>document.title = 1</script>"
    pages[0].images[0]["path"] = hostile
    file = tmp_path / "report.html"
    write_report(file, f"{hostile}: evaluation", "Percent", [*TABLE, [hostile, "0"]], {"model": hostile}, pages)
    chromium.get_log("browser")
    chromium.get(file.as_uri())
    try:
        assert chromium.title == f"{hostile}: evaluation"
        cells = [cell.text for cell in chromium.find_elements(By.CSS_SELECTOR, "td")]
        assert cells == ["a", "7", "mean", "7", hostile, "0"]
        images = chromium.find_elements(By.CSS_SELECTOR, "figure img, article img")
        assert len(images) == 8 + 2 * sum(len(page.images) for page in pages)
        assert all(image.accessible_name for image in images)
        assert chromium.execute_script("return document.images[0].complete && document.images[0].naturalWidth > 0")
        assert chromium.get_log("browser") == []
    finally:
        chromium.get("about:blank")
    assert not re.search(r"https?://|url\(|@import", file.read_text(encoding="utf-8"))
