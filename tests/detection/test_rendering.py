"""The pictures of a map: a fixed colour scale, the image's own size, and no loss beyond 16 bits."""

import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_fbclip.detection.rendering import COLOUR_ANCHORS, COLOUR_TABLE, map_to_png16, render_overlay

BLUE, RED = COLOUR_ANCHORS[0][1], COLOUR_ANCHORS[-1][1]


def grey(width=6, height=4, value=100):
    return Image.new("RGB", (width, height), (value, value, value))


def weights(values, alpha=1.0):
    """How much of the photograph is hidden, for each value: by what is left of the difference of white and black."""
    row = np.asarray(values, dtype=np.float32)[None]
    black, white = (np.asarray(render_overlay(grey(row.size, 1, value), row, alpha=alpha)) for value in (0, 255))
    return 1 - (white[0, :, 0].astype(float) - black[0, :, 0]) / 255


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_zero_shows_the_photograph_exactly_as_it_is(mode):
    photograph = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).convert(mode)
    overlay = render_overlay(photograph, np.zeros((40, 60)), mask=np.zeros((40, 60), dtype=bool))
    assert overlay.tobytes() == photograph.convert("RGB").tobytes()


def test_a_larger_value_hides_more_and_good_material_is_hardly_tinted():
    hidden = weights(np.linspace(0, 1, 256))
    assert hidden[0] == 0
    assert hidden[-1] == 1
    assert (np.diff(hidden) >= 0).all()
    assert hidden[12] < 0.05  # 0.05, as most of a good part has
    assert hidden[76] > 0.5  # 0.3
    assert np.abs(weights([1.0, 0.5], alpha=0.5) - np.array([0.5, 0.425])).max() < 0.01
    assert weights([1.0], alpha=0.0) == 0


def test_each_probability_has_one_colour_whatever_else_the_map_holds():
    anomaly_map = np.full((4, 6), 0.5, dtype=np.float32)
    overlay = render_overlay(grey(), anomaly_map)
    anomaly_map[0, 0] = 0.9  # stretching to the map's own range would move every colour
    other = render_overlay(grey(), anomaly_map)
    assert (np.asarray(overlay)[1:] == np.asarray(other)[1:]).all()


def test_scale_runs_from_blue_to_red():
    assert BLUE[2] == max(BLUE)
    assert RED[0] == max(RED)
    assert tuple(COLOUR_TABLE[0]) == BLUE
    assert tuple(COLOUR_TABLE[-1]) == RED
    assert np.abs(np.diff(COLOUR_TABLE.astype(int), axis=0)).max() <= 5  # no jump that would look like an edge
    assert len(np.unique(COLOUR_TABLE, axis=0)) == 256
    assert np.asarray(render_overlay(grey(), np.ones((4, 6)), alpha=1.0))[0, 0].tolist() == list(RED)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_size_is_kept_and_the_result_is_rgb(mode):
    overlay = render_overlay(grey(7, 3).convert(mode), torch.zeros(3, 7))
    assert overlay.size == (7, 3)
    assert overlay.mode == "RGB"


def test_a_white_line_in_a_black_one_lies_around_each_region_and_closes_it_along_the_images_edge():
    mask = torch.zeros(9, 11, dtype=torch.bool)
    mask[3:6, 0:4] = True  # touches the left edge of the image
    overlay = np.asarray(render_overlay(grey(11, 9), np.zeros((9, 11)), mask=mask))
    white, black = ((overlay == value).all(axis=-1) for value in (255, 0))
    expected = np.zeros((9, 11), dtype=bool)
    expected[2:7, 0:5] = True
    expected[3:6, 1:4] = False
    assert white.tolist() == expected.tolist()
    ring = np.zeros((9, 11), dtype=bool)
    ring[1:8, 0:6] = True
    ring[2:7, 0:5] = False
    assert black.tolist() == ring.tolist()


@pytest.mark.parametrize(("size", "width"), [((200, 150), 1), ((1200, 900), 3), ((900, 4000), 10)])
def test_the_line_is_as_wide_as_a_person_sees_and_hides_no_defect(size, width):
    mask = np.zeros(size[::-1], dtype=bool)
    mask[70, 70] = True
    overlay = np.asarray(render_overlay(grey(*size), np.zeros(size[::-1]), mask=mask))
    assert (overlay[70, 70 - width : 70] == 255).all()
    assert (overlay[70, 71 : 71 + width] == 255).all()
    assert (overlay[70, 70 - width - 1] == 0).all()
    assert overlay[70, 70].tolist() == [100, 100, 100]


def test_strips_show_no_seam(monkeypatch):
    rng = np.random.default_rng(0)
    photograph = Image.fromarray(rng.integers(0, 256, (50, 900, 3), dtype=np.uint8))
    anomaly_map = rng.random((50, 900), dtype=np.float32)
    mask = anomaly_map > 0.999
    whole, whole_map = render_overlay(photograph, anomaly_map, mask), map_to_png16(anomaly_map)
    monkeypatch.setattr("modeling_fbclip.detection.rendering.STRIP", 3000)
    assert render_overlay(photograph, anomaly_map, mask).tobytes() == whole.tobytes()
    assert map_to_png16(anomaly_map).tobytes() == whole_map.tobytes()


def test_a_large_overlay_is_drawn_in_little_memory_beside_the_pictures(monkeypatch):
    monkeypatch.setattr("modeling_fbclip.detection.rendering.STRIP", 2**14)
    photograph, values = grey(1200, 1000), np.full((1000, 1200), 0.5, np.float32)
    mask = values > 0.4
    tracemalloc.start()
    render_overlay(photograph, values, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.size  # bytes: a strip; Pillow's own memory is that of the overlay


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
