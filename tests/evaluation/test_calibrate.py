"""Thresholds from conformal prediction and from labels, and how they are saved with the processor."""

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import quick
from modeling_fbclip import FBCLIPProcessor, ZeroShotAnomalyDetectionPipeline
from modeling_fbclip.evaluation import calibrate, calibrate_dataset
from modeling_fbclip.evaluation.calibrate import conformal_threshold, images_needed

from .conftest import make_dataset, make_row


@pytest.fixture
def images():
    return [make_row(index, "a", 0)["image"] for index in range(9)]


@pytest.mark.parametrize(("rate", "count"), [(0.5, 1), (0.3, 3), (0.1, 9), (0.05, 19), (0.01, 99), (0.001, 999)])
def test_the_number_of_images_for_a_rate(rate, count):
    assert images_needed(rate) == count
    scores = np.linspace(0.1, 0.9, count)
    assert conformal_threshold(scores, rate) == pytest.approx(scores[-1] + 1e-6, abs=1e-12)
    message = f"{count - 1} normal images are too few for a false positive rate of {rate:g}, which needs {count};"
    with pytest.raises(ValueError, match=message):
        conformal_threshold(scores[:-1], rate)


def test_the_suggested_rate_needs_no_more_images():
    with pytest.raises(ValueError, match=r"a rate of 0.02439 or above"):
        conformal_threshold(np.linspace(0, 0.9, 40), 0.01)
    assert images_needed(0.02440) <= 40


def test_more_images_lower_the_threshold_below_the_highest():
    scores = np.arange(199) / 200
    threshold = conformal_threshold(scores, 0.01)
    assert (scores >= threshold).sum() == 1


@quick
@given(st.lists(st.integers(0, 50), min_size=10, max_size=60), st.sampled_from([0.1, 0.2, 0.35]))
def test_a_new_image_exceeds_the_threshold_no_more_often_than_promised(values, rate):
    # Each image in turn is the new one, and the others calibrate.
    scores = np.array(values) / 51
    exceeded = [scores[i] >= conformal_threshold(np.delete(scores, i), rate) for i in range(len(scores))]
    assert np.mean(exceeded) <= rate + 1e-9


def test_scores_of_1_are_refused():
    with pytest.raises(ValueError, match="highest possible score of 1"):
        conformal_threshold(np.ones(100), 0.01)
    assert conformal_threshold(np.full(100, 1 - 1e-9), 0.01) == 1


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_a_rate_outside_0_to_1_is_refused_before_any_work(rate):
    with pytest.raises(ValueError, match="must be above 0 and below 1"):
        calibrate(None, None, None, target_fpr=rate)


def test_thresholds_are_above_the_images_own_in_any_batch(model, processor, images, tmp_path):
    results = ZeroShotAnomalyDetectionPipeline(model=model, processor=processor)(images)
    calls = []
    calibration = calibrate(model, processor, iter(images), target_fpr=0.1, on_image=lambda: calls.append(1))
    assert calibration.num_images == len(calls) == 9
    assert calibration.threshold == pytest.approx(max(result["score"] for result in results), abs=3e-6)
    peak = max(result["anomaly_map"].max().item() for result in results)
    assert calibration.pixel_threshold == pytest.approx(peak, abs=3e-6)

    processor.save_pretrained(tmp_path)
    loaded = FBCLIPProcessor.from_pretrained(tmp_path)
    assert (loaded.threshold, loaded.pixel_threshold) == calibration[:2]
    detected = ZeroShotAnomalyDetectionPipeline(model=model, processor=loaded)(images, batch_size=4)
    assert {result["label"] for result in detected} == {"normal"}
    assert not any(result["mask"].any() for result in detected)


def test_too_few_images_do_not_change_the_processor(model, processor, images):
    with pytest.raises(ValueError, match="8 normal images are too few"):
        calibrate(model, processor, images[:8], target_fpr=0.1)
    assert (processor.threshold, processor.pixel_threshold) == (0.5, 0.5)


def test_conformal_thresholds_of_a_data_set_come_from_its_normal_images(model, processor, images):
    rows = [make_row(index, "a", 0) for index in range(9)] + [make_row(index, "a", 1) for index in range(9, 12)]
    found = calibrate_dataset(model, processor, make_dataset(rows), target_fpr=0.1)
    other = FBCLIPProcessor.from_config(model.config)
    assert found["all images"] == pytest.approx(calibrate(model, other, images, target_fpr=0.1))


@pytest.mark.parametrize("criterion", ["f1_max", "youden"])
def test_no_threshold_does_better_on_the_labels(model, processor, dataset, criterion):
    found = calibrate_dataset(model, processor, dataset, criterion)["all images"]
    assert (processor.threshold, processor.pixel_threshold) == (found.threshold, found.pixel_threshold)
    results = ZeroShotAnomalyDetectionPipeline(model=model, processor=processor)([row["image"] for row in dataset])
    scores, labels = np.array([result["score"] for result in results]), np.array(dataset["label"])

    def quality(threshold):
        hits, alarms = (scores[labels == 1] >= threshold).sum(), (scores[labels == 0] >= threshold).sum()
        if criterion == "youden":
            return hits / (labels == 1).sum() - alarms / (labels == 0).sum()
        return 2 * hits / (hits + alarms + labels.sum())

    assert quality(found.threshold) == pytest.approx(max(map(quality, scores - 1e-7)))
    assert found.num_images == 13
    assert 0 < found.pixel_threshold < 1


def test_labels_without_masks_do_not_change_the_pixel_threshold(model, processor, dataset):
    found = calibrate_dataset(model, processor, dataset.remove_columns("mask"), "f1_max")["all images"]
    assert found.pixel_threshold == processor.pixel_threshold == 0.5
    assert found.threshold == processor.threshold != 0.5


def test_categories_have_thresholds_of_their_own(model, processor, dataset, tmp_path):
    found = calibrate_dataset(model, processor, dataset, "f1_max", per_category=True)
    assert list(found) == ["all images", "a", "b"]
    alone = FBCLIPProcessor.from_config(model.config)
    only_b = dataset.filter(lambda row: row["category"] == "b")
    expected = calibrate_dataset(model, alone, only_b, "f1_max")["all images"]
    assert found["b"] == pytest.approx(expected)
    processor.save_pretrained(tmp_path)
    loaded = FBCLIPProcessor.from_pretrained(tmp_path)
    assert loaded.category_thresholds == {
        name: {"threshold": found[name].threshold, "pixel_threshold": found[name].pixel_threshold} for name in "ab"
    }


def test_a_category_with_too_few_images_is_named(model, processor, dataset):
    with pytest.raises(ValueError, match=r"^b: 4 normal images are too few"):
        calibrate_dataset(model, processor, dataset, target_fpr=0.17, per_category=True)
    only_a_is_normal = dataset.filter(lambda row: row["category"] == "a" or row["label"] == 1)
    with pytest.raises(ValueError, match=r"^b: 0 normal images are too few for .* needs 2; pass more\.$"):
        calibrate_dataset(model, processor, only_a_is_normal, target_fpr=0.4, per_category=True)
    with pytest.raises(ValueError, match="Got 0 anomalous and 9 normal images, but 'youden' needs both"):
        calibrate_dataset(model, processor, dataset.filter(lambda row: row["label"] == 0), "youden")
    with pytest.raises(ValueError, match="`criterion` is 'best', but must be one of 'conformal'"):
        calibrate_dataset(model, processor, dataset, "best")
    assert (processor.threshold, processor.pixel_threshold) == (0.5, 0.5)


def test_a_damaged_image_in_a_table_is_named_by_its_path(model, processor, dataset):
    rows = dataset.cast_column("image", datasets.Image(decode=False)).to_list()
    rows[2]["image"] = {"path": None, "bytes": b"no image"}
    with pytest.raises(ValueError, match=r"^a/2\.png: not an image"):
        calibrate_dataset(model, processor, make_dataset(rows), target_fpr=0.2)
