"""The connected areas of a mask, compared with areas that are counted pixel by pixel."""

import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import quick
from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.regions_fbclip import find_regions


def flood(mask: np.ndarray, row: int, column: int) -> list[tuple[int, int]]:
    """The pixels connected with one, by sides and corners; they are erased."""
    pixels, waiting = [], [(row, column)]
    while waiting:
        y, x = waiting.pop()
        if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x]:
            mask[y, x] = False
            pixels.append((y, x))
            waiting += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return pixels


def expected_regions(values: np.ndarray, mask: np.ndarray, min_area: int) -> list[dict]:
    rest, found = mask.copy(), []
    for start in zip(*np.nonzero(mask), strict=True):
        if not (pixels := flood(rest, *start)) or len(pixels) < min_area:
            continue
        rows, columns = np.array(pixels).T
        inside = values[rows, columns]
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        mean = pytest.approx(inside.mean(dtype=np.float64), abs=1e-6)
        found.append({"box": box, "area": len(pixels), "peak": inside.max(), "mean": mean})
    return sorted(found, key=lambda region: -region["peak"])


@quick
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.integers(1, 5), st.integers(0, 10**6))
def test_regions_are_the_areas_that_are_connected_by_sides_and_corners(
    height: int, width: int, share: float, min_area: int, seed: int
) -> None:
    values = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    mask = values >= share
    before = mask.copy()
    regions, large = find_regions(values, mask, min_area)
    assert regions == expected_regions(values, mask, min_area)
    assert sum(region["area"] for region in regions) == large.sum()
    assert not (large & ~mask).any()
    assert (mask == before).all()


def test_an_empty_mask_has_no_region() -> None:
    regions, mask = find_regions(np.zeros((3, 5), np.float32), np.zeros((3, 5), bool))
    assert (regions, mask.any()) == ([], False)


def test_strips_give_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((40, 30), dtype=np.float32)
    whole, whole_mask = find_regions(values, values > 0.7, 3)
    monkeypatch.setattr("modeling_fbclip.regions_fbclip.STRIP", 60)
    regions, mask = find_regions(values, values > 0.7, 3)
    assert [region["box"] for region in regions] == [region["box"] for region in whole]
    assert [region["mean"] for region in regions] == pytest.approx([region["mean"] for region in whole])
    assert (mask == whole_mask).all()


def test_a_hundred_thousand_regions_take_a_second() -> None:
    values = np.zeros((500, 800), np.float32)
    values[::2, ::2] = 0.75
    begun = time.perf_counter()
    regions, mask = find_regions(values, values > 0.5)
    assert len(regions) == 100_000 == mask.sum()
    assert time.perf_counter() - begun < 30


def test_a_large_map_is_measured_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeling_fbclip.regions_fbclip.STRIP", 2**14)
    values, mask = np.ones((1000, 1200), np.float32), np.ones((1000, 1200), bool)
    tracemalloc.start()
    regions, _ = find_regions(values, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert regions == [{"box": [0, 0, 1200, 1000], "area": values.size, "peak": 1.0, "mean": 1.0}]
    assert peak < 5 * values.size  # bytes: the labels, and a strip


def processed(processor: FBCLIPProcessor, **settings: int) -> dict:
    """The result of a map with areas of 6 and of 1 pixel."""
    anomaly_map = torch.zeros(1, 8, 8)
    anomaly_map[0, 1:3, 2:5], anomaly_map[0, 1, 3], anomaly_map[0, 6, 7] = 0.75, 0.875, 1.0
    outputs = {"image_scores": torch.tensor([0.125]), "anomaly_maps": anomaly_map}
    return processor.post_process_anomaly_detection(outputs, **settings)[0]


SMALL = {"box": [7, 6, 8, 7], "area": 1, "peak": 1.0, "mean": 1.0}
LARGE = {"box": [2, 1, 5, 3], "area": 6, "peak": 0.875, "mean": (5 * 0.75 + 0.875) / 6}


def test_the_processor_leaves_out_what_is_smaller_than_min_area_in_regions_and_mask(tmp_path) -> None:
    processor = FBCLIPProcessor(image_size=8, smoothing_sigma=0)
    result = processed(processor)
    assert result["regions"] == [SMALL, LARGE]
    assert result["mask"].sum() == 7
    other = FBCLIPProcessor(image_size=8, smoothing_sigma=0, min_area=6)
    for seven in (processed(processor, min_area=2), processed(other)):
        assert seven["regions"] == [LARGE]
        assert seven["mask"].nonzero().tolist() == [[1, 2], [1, 3], [1, 4], [2, 2], [2, 3], [2, 4]]
        assert (seven["score"], seven["label"]) == (result["score"], result["label"])
        assert torch.equal(seven["anomaly_map"], result["anomaly_map"])
    FBCLIPProcessor(image_size=8, min_area=6).save_pretrained(tmp_path)
    assert FBCLIPProcessor.from_pretrained(tmp_path).min_area == 6
    assert FBCLIPProcessor.from_pretrained(tmp_path, min_area=3).min_area == 3


@pytest.mark.parametrize("area", [0, -3, 1.5, "many", float("nan")])
def test_a_wrong_area_is_named(area) -> None:
    with pytest.raises(ValueError, match=r"`min_area` is .*, but must be a whole number of pixels, from 1 on"):
        FBCLIPProcessor(min_area=area)
    with pytest.raises(ValueError, match="`min_area` is "):
        processed(FBCLIPProcessor(image_size=8), min_area=area)
