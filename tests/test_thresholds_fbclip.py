"""Thresholds hold for the mode that they were set in."""

import logging

import pytest
import torch

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.thresholds_fbclip import tell_other_mode

SQUASHED, ASPECT = "32x32 pixels", "32x32 pixels, aspect kept"
TILES = "32x32 pixels in tiles of 32 that overlap by 8"


@pytest.fixture
def processor():
    tell_other_mode.cache_clear()
    return FBCLIPProcessor(image_size=32, patch_size=8, threshold=0.4, pixel_threshold=0.3, thresholds_mode=SQUASHED)


def outputs(count=1):
    return [{"image_scores": torch.tensor([0.45]), "anomaly_maps": torch.full((1, 4, 4), 0.45)}] * count


def test_another_mode_says_so_once(processor, caplog):
    tiled = processor.with_views(tile="auto")
    with caplog.at_level(logging.WARNING):
        assert processor.post_process_views(outputs(), (20, 20))["label"] == "anomalous"
        assert tiled.post_process_views(outputs(), (20, 20))["label"] == "anomalous"  # seen whole
        assert not caplog.records
        assert tiled.post_process_views(outputs(7), (50, 40))["label"] == "anomalous"
        assert tiled.post_process_views(outputs(7), (40, 50))["label"] == "anomalous"
    (record,) = caplog.records
    assert (
        record.getMessage()
        == f"Thresholds for {SQUASHED} are used for {TILES}; set them for it by `fbclip calibrate`."
    )


def test_thresholds_of_several_modes_stay_beside_one_another(processor, tmp_path):
    processor.set_thresholds(0.6, 0.5, TILES, with_references=False)
    assert processor.other_thresholds == {SQUASHED: {"threshold": 0.4, "pixel_threshold": 0.3}}
    processor.save_pretrained(tmp_path)
    loaded = FBCLIPProcessor.from_pretrained(tmp_path, tile="auto")
    large = loaded.post_process_views(outputs(7), (50, 40))
    assert (large["label"], large["mask"].any().item()) == ("normal", False)
    small = loaded.post_process_views(outputs(), (20, 20))
    assert (small["label"], small["mask"].all().item()) == ("anomalous", True)
    processor.set_thresholds(0.1, 0.2, SQUASHED, with_references=False)
    assert processor.other_thresholds == {TILES: {"threshold": 0.6, "pixel_threshold": 0.5}}
    assert (processor.threshold, processor.thresholds_mode) == (0.1, SQUASHED)


def test_categories_and_other_modes_go_with_thresholds_for_references(processor):
    processor.category_thresholds = {"a": {"threshold": 0.9}}
    processor.set_thresholds(0.2, 0.2, SQUASHED, with_references=False)
    assert processor.category_thresholds == {"a": {"threshold": 0.9}}
    processor.set_thresholds(0.3, 0.3, TILES, with_references=True)
    assert processor.category_thresholds is processor.other_thresholds is None
    assert processor.general_thresholds(False, TILES) == {"threshold": 0.5, "pixel_threshold": 0.5}


def test_thresholds_of_a_mode_that_was_not_noted_hold_for_every_one(caplog):
    old = FBCLIPProcessor(image_size=32, patch_size=8, threshold=0.4, tile="auto")
    assert old.post_process_views(outputs(7), (50, 40))["label"] == "anomalous"
    assert not caplog.records


def test_a_mode_may_have_one_threshold_of_its_own(processor):
    tiled = processor.with_views(tile="auto")
    tiled.other_thresholds = {TILES: {"threshold": 0.6}}
    assert tiled.general_thresholds(False, TILES) == {"threshold": 0.6, "pixel_threshold": 0.3}
    with pytest.raises(ValueError, match="other_thresholds\\['x'\\]` has 'score', but may have thresholds only"):
        FBCLIPProcessor(other_thresholds={"x": {"score": 0.5}})


def test_thresholds_out_of_range_are_refused():
    with pytest.raises(ValueError, match="other_thresholds\\['x'\\]` is 2, but must be between 0 and 1"):
        FBCLIPProcessor(other_thresholds={"x": {"threshold": 2}})
