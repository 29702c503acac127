"""Histograms of scores, and which images count as the worst errors."""

import numpy as np
import pytest

from modeling_fbclip.evaluation.plots import plot_scores, worst_errors
from modeling_fbclip.evaluation.ranking import Ranking


def test_the_histogram_shows_the_threshold_and_whole_counts():
    figure = plot_scores(Ranking(np.array([0.1, 0.1, 0.2]), np.array([0.7])), 0.45, "cap")
    (axes,) = figure.axes
    assert list(axes.lines[0].get_xdata()) == [0.45, 0.45]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "normal (3)",
        "anomalous (1)",
        "threshold 0.450",
    ]
    figure.draw_without_rendering()
    assert all(float(tick).is_integer() for tick in axes.get_yticks())


def test_a_class_without_images_is_not_in_the_legend():
    (axes,) = plot_scores(Ranking(np.array([]), np.array([0.7, 0.8])), 0.5, "cap").figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["anomalous (2)", "threshold 0.500"]


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([1, 1, 0, 0], [("miss-1", 0), ("alarm-1", 2), ("alarm-2", 3)]),
        ([1, 1, 1, 1], [("lowest-1", 0), ("lowest-2", 3), ("lowest-3", 2), ("lowest-4", 1)]),
        ([0, 0, 0, 0], [("highest-1", 1), ("highest-2", 2), ("highest-3", 3), ("highest-4", 0)]),
    ],
)
def test_the_worst_are_named_also_where_there_is_one_kind_only(labels, named):
    scores = np.array([0.2, 0.9, 0.6, 0.5])
    assert worst_errors(scores, np.array(labels, dtype=bool)) == named
