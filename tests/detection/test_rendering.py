"""The pictures of a map: a fixed colour scale, the image's own size, and no loss beyond 16 bits."""

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_fbclip.detection.rendering import COLOUR_ANCHORS, map_to_png16, render_overlay

BLUE, RED = COLOUR_ANCHORS[0][1], COLOUR_ANCHORS[-1][1]


def grey(width=6, height=4, value=100):
    return Image.new("RGB", (width, height), (value, value, value))


@pytest.mark.parametrize(("probability", "colour"), COLOUR_ANCHORS[::2])
def test_each_probability_has_one_colour_whatever_else_the_map_holds(probability, colour):
    anomaly_map = np.full((4, 6), probability, dtype=np.float32)
    anomaly_map[0, 0] = 0.9  # stretching to the map's own range would move every colour
    overlay = np.asarray(render_overlay(grey(), anomaly_map, alpha=1.0)).astype(int)
    assert np.abs(overlay[1:] - np.array(colour)).max() <= (0 if probability in (0.0, 1.0) else 2)


def test_scale_runs_from_blue_to_red():
    assert BLUE[2] == max(BLUE)
    assert RED[0] == max(RED)
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    colours = np.asarray(render_overlay(grey(256, 1), ramp, alpha=1.0)).astype(int)[0]
    assert tuple(colours[0]) == BLUE
    assert tuple(colours[-1]) == RED
    assert np.abs(np.diff(colours, axis=0)).max() <= 5  # no jump that would look like an edge
    assert len(np.unique(colours, axis=0)) == 256


def test_alpha_is_the_weight_of_the_colours():
    zero = np.zeros((4, 6), dtype=np.float32)
    assert np.asarray(render_overlay(grey(), zero, alpha=0.0)).tolist() == np.asarray(grey()).tolist()
    half = np.asarray(render_overlay(grey(value=100), zero, alpha=0.5))[0, 0].astype(float)
    assert np.abs(half - (np.array(BLUE) + 100) / 2).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_size_is_kept_and_the_result_is_rgb(mode):
    overlay = render_overlay(grey(7, 3).convert(mode), torch.zeros(3, 7))
    assert overlay.size == (7, 3)
    assert overlay.mode == "RGB"


def test_contour_is_the_inner_border_of_the_mask():
    mask = torch.zeros(7, 9, dtype=torch.bool)
    mask[2:6, 0:4] = True  # touches the left edge of the image
    overlay = np.asarray(render_overlay(grey(9, 7), np.zeros((7, 9)), mask=mask))
    white = (overlay == 255).all(axis=-1)
    expected = mask.numpy().copy()
    expected[3:5, 1:3] = False
    assert white.tolist() == expected.tolist()


def test_an_empty_mask_draws_nothing():
    anomaly_map = np.zeros((4, 6))
    with_mask = render_overlay(grey(), anomaly_map, mask=np.zeros((4, 6), dtype=bool))
    assert with_mask.tobytes() == render_overlay(grey(), anomaly_map).tobytes()


def test_sixteen_bit_map_comes_back_within_one_level(tmp_path):
    anomaly_map = torch.rand(11, 5, generator=torch.Generator().manual_seed(0))
    anomaly_map[0, 0], anomaly_map[0, 1] = 0.0, 1.0
    map_to_png16(anomaly_map).save(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as stored:
        assert stored.mode == "I;16"
        assert stored.size == (5, 11)
        values = np.asarray(stored)
    assert values[0, 0] == 0
    assert values[0, 1] == 65535
    assert np.abs(values / 65535 - anomaly_map.numpy()).max() <= 0.5 / 65535 + 1e-7


@pytest.mark.parametrize("value", [-0.2, 1.5, 255.0, float("nan")])
def test_values_outside_0_to_1_are_refused(value):
    anomaly_map = np.zeros((4, 6), dtype=np.float32)
    anomaly_map[1, 1] = value
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        map_to_png16(anomaly_map)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        render_overlay(grey(), anomaly_map)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"anomaly_map of .*\(4, 6\) does not fit the image's \(6, 4\)"):
        render_overlay(grey(6, 4), np.zeros((6, 4)))
    with pytest.raises(ValueError, match=r"mask of .*\(5, 4\) does not fit"):
        render_overlay(grey(6, 4), np.zeros((4, 6)), mask=np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"\(height, width\), got \(1, 4, 6\)"):
        map_to_png16(np.zeros((1, 4, 6)))
