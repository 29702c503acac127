"""`evaluate` on masks of every kind: lossy, turned, vanishing, partly unknown; what is odd in them is told."""

import shutil

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.evaluation import evaluate
from modeling_fbclip.evaluation.metrics import METRIC_NAMES

SIZE = 48
EXIF_TURN = 6


@pytest.fixture
def line(tmp_path):
    """Three good and three bad pictures of 64 pixels, with PNG masks of a thin line."""
    rng = np.random.default_rng(0)
    for name in ("good", "bad"):
        (tmp_path / "line/test" / name).mkdir(parents=True)
    (tmp_path / "line/ground_truth/bad").mkdir(parents=True)
    for index in range(6):
        pixels, mask = rng.integers(90, 130, (64, 64, 3), dtype=np.uint8), np.zeros((64, 64), np.uint8)
        mask[10 + index : 30, 12:17] = 255
        if index < 3:
            pixels[mask > 0] = 255
            Image.fromarray(mask).save(tmp_path / f"line/ground_truth/bad/{index}_mask.png")
        Image.fromarray(pixels).save(tmp_path / f"line/test/{'bad' if index < 3 else 'good'}/{index}.png")
    return tmp_path / "line"


def numbers(model, processor, root):
    return evaluate(model, processor, load_anomaly_dataset(root), size=SIZE)["mean"]


def test_jpeg_masks_give_the_numbers_of_png_masks(model, processor, line, tmp_path, caplog):
    expected = numbers(model, processor, line)
    assert caplog.messages == []
    shutil.copytree(line, tmp_path / "jpeg")
    for mask in (tmp_path / "jpeg/ground_truth/bad").iterdir():
        Image.open(mask).save(mask.with_suffix(".jpg"), quality=75)
        mask.unlink()
    assert numbers(model, processor, tmp_path / "jpeg") == expected
    (told,) = caplog.messages
    assert "bad/0.png: mask of " in told
    assert told.endswith("values, not of two (and 2 more of this kind)")


def test_masks_turn_with_their_photographs(model, processor, line, tmp_path, caplog):
    expected = numbers(model, processor, line)
    shutil.copytree(line, tmp_path / "turned")
    exif = Image.Exif()
    exif[0x0112] = EXIF_TURN
    for folder in ("test/bad", "test/good", "ground_truth/bad"):
        for file in (tmp_path / "turned" / folder).iterdir():
            turned_back = Image.open(file).transpose(Image.Transpose.ROTATE_90)
            turned_back.save(file, exif=exif if "test" in folder else None)
    assert numbers(model, processor, tmp_path / "turned") == pytest.approx(expected, abs=1e-6)
    assert "mask turned by the EXIF data of its photograph" in caplog.text


def test_a_mask_that_vanishes_is_told_and_counts(model, processor, line, caplog):
    for mask in (line / "ground_truth/bad").iterdir():
        pixels = np.zeros((1024, 1024), np.uint8)
        pixels[300, 200] = 255
        Image.fromarray(pixels).save(mask)
    found = numbers(model, processor, line)
    assert all(found[name] is not None for name in METRIC_NAMES if name != "pixel_aupimo")
    assert "mask vanishes at 48 by 48 pixels: its strongest pixel is kept (and 2 more of this kind)" in caplog.text


def test_unknown_pixels_of_a_file_count_for_nothing(model, processor, line):
    """All but the marked pixels and one column are unknown, so no normal image adds a pixel but those of its own."""
    everything = evaluate(model, processor, load_anomaly_dataset(line), size=64)["mean"]
    for mask in (line / "ground_truth/bad").iterdir():
        pixels = (np.asarray(Image.open(mask)) > 0).astype(np.uint8)
        pixels[:, 40:] = 255
        Image.fromarray(pixels).save(mask)
    some = evaluate(model, processor, load_anomaly_dataset(line), size=64)["mean"]
    assert some["image_auroc"] == everything["image_auroc"]
    assert some["pixel_ap"] > everything["pixel_ap"]
