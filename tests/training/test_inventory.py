"""What is told of the images before the first step, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.training.inventory import check_learnable, count_images, few_images_advice, find_odd
from modeling_fbclip.training.record import RowDigest

from .conftest import make_parts


def digests_of(marked, other_aspect=0, same=0):
    """One digest for each share of marked pixels, `None` without a mask."""
    return [
        RowDigest(str(max(index, same)), str(index), share, index < other_aspect, [])
        for index, share in enumerate(marked)
    ]


def test_images_and_masks_are_counted_in_one_line():
    digests = digests_of([None] * 100 + [0.1] * 15 + [0.0] + [1.0] * 2 + [None] * 2)
    digests[103:106] = [digest._replace(has_other_aspect=True) for digest in digests[103:106]]
    digests[1] = digests[1]._replace(image="0")
    digests[2] = digests[2]._replace(marked=0.5)
    assert count_images([0] * 100 + [1] * 20, digests) == (
        "120 images: 100 good, 20 anomalous; 19 masks, 2 anomalous images without a mask, 1 empty mask of anomalous "
        "images, 2 masks of the whole image, 1 mask of good images that mark something, 3 masks of another aspect "
        "than the image, 1 image with the pixels of another"
    )
    assert count_images([0, 1], digests_of([None, None])) == "2 images: 1 good, 1 anomalous; no masks"
    assert count_images([0, 1], digests_of([0.0, 0.5])) == "2 images: 1 good, 1 anomalous; 2 masks"


@pytest.mark.parametrize(
    ("labels", "digests", "said"),
    [
        ([1, 1], digests_of([0.1, None]), "None of the images is good: only maps can be learnt"),
        ([0, 1, 1], digests_of([None, 0.0, None]), "Every mask of an anomalous image is empty"),
        ([0, 1, 1], digests_of([None, 0.1, 0.1], same=1), "1 picture both among the good and among the anomalous"),
        ([0, 1, 1], digests_of([None, 0.1, 0.0]), None),
    ],
)
def test_what_keeps_a_part_from_learning_is_told(labels, digests, said):
    lines = list(find_odd(labels, digests))
    assert len(lines) == (said is not None)
    assert all(line.startswith(said) for line in lines)


@pytest.mark.parametrize(
    ("labels", "digests", "said"),
    [
        ([1, 1, 1], digests_of([None, 0.0, 1.0]), "None of the images is good, and no mask shows"),
        ([0, 1], digests_of([None, None], same=1), "Every good image has the pixels of an anomalous one"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(labels, digests, said):
    with pytest.raises(ValueError, match=said):
        check_learnable(labels, digests, synthetic=False)
    check_learnable([*labels, 1], [*digests, RowDigest("new", "new", 0.1, False, [])], synthetic=False)
    check_learnable([0], digests_of([None]), synthetic=True)


@pytest.mark.parametrize(
    ("good", "anomalous", "is_few"), [(1, 1, True), (12, 7, True), (12, 8, False), (19, 0, True), (20, 0, False)]
)
def test_few_images_are_told_to_use_references(good, anomalous, is_few):
    advice = few_images_advice([0] * good + [1] * anomalous)
    assert (advice is not None) == is_few
    if advice is not None:
        assert advice.startswith(f"So few images ({good} good, {anomalous} anomalous) cannot judge the training")
        assert "fbclip remember" in advice


def test_a_run_tells_before_its_first_step(run, tmp_path, caplog):
    parts = make_parts(tmp_path / "parts", 8)
    Image.fromarray(np.zeros((40, 36), np.uint8)).save(tmp_path / "parts/1_mask.png")
    Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 10)).save(tmp_path / "parts/3_mask.png")
    run(parts, epochs=1)
    said = "8 images: 4 good, 4 anomalous; 4 masks, 1 empty mask of an"
    assert next(message[: len(said)] for message in caplog.messages if " good, " in message) == said
    assert "1 mask of another aspect than the image" in caplog.text


def test_only_anomalous_images_train_maps_or_are_refused(run, tmp_path, caplog):
    masked = make_parts(tmp_path / "parts").filter(lambda row: row["label"] == 1)
    run(masked, "masked", epochs=1)
    assert "None of the images is good: only maps can be learnt" in caplog.text
    with pytest.raises(ValueError, match="None of the images is good, and no mask shows"):
        run(masked.remove_columns("mask"), "unmasked", epochs=1)
    assert not (tmp_path / "unmasked/log.jsonl").exists()
