"""Masks in training: unknown pixels have no part in the losses, and what is odd in a mask is told."""

import numpy as np
from PIL import Image as PILImage

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.data.decoding import undecoded
from modeling_fbclip.training.images import TrainingImages
from modeling_fbclip.training.schedule import Draw

from .conftest import make_parts

ORIENTATION = 0x0112


def test_unknown_pixels_have_no_part_in_the_losses(tmp_path):
    parts = make_parts(tmp_path)
    pixels = (np.asarray(PILImage.open(tmp_path / "1_mask.png")) > 0).astype(np.uint8)
    pixels[:, 30:] = 255
    PILImage.fromarray(pixels).save(tmp_path / "1_mask.png")
    images = TrainingImages(undecoded(parts), FBCLIPProcessor(image_size=(40, 36)), use_masks=True)
    labels = images[Draw(0, 1)]["mask_labels"]
    assert (labels[:, 30:] == -100).all()
    assert labels[:, :30].unique().tolist() == [0, 1]


def test_masks_turn_with_their_photographs(tmp_path):
    parts = make_parts(tmp_path)
    exif = PILImage.Exif()
    exif[ORIENTATION] = 6
    PILImage.open(tmp_path / "1.png").save(tmp_path / "1.png", exif=exif)
    images = TrainingImages(undecoded(parts), FBCLIPProcessor(image_size=(36, 40)), use_masks=True)
    marked = images[Draw(0, 1)]["mask_labels"].nonzero()
    assert marked.amin(0).tolist() == [8, 20]  # of rows 5 to 19 and columns 8 to 25, turned to the right
    assert marked.amax(0).tolist() == [25, 34]


def test_odd_masks_are_told(run, tmp_path, caplog):
    parts = make_parts(tmp_path / "parts")
    for index in (1, 3):
        pixels = np.full((40, 36), 255, np.uint8)
        pixels[20, 20] = 0
        PILImage.fromarray(pixels).save(tmp_path / f"parts/{index}_mask.png")
    run(parts, "out", epochs=1)
    told = [message for message in caplog.messages if "mask marks" in message]
    assert told == ["parts/1.png: mask marks 100% of the image: it may be inverted (and 1 more of this kind)"]
