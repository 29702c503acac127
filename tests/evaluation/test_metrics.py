"""The metrics against golden numbers, scikit-learn, their definitions, and cases computed by hand."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from conftest import quick
from modeling_fbclip.evaluation import compute_metrics
from modeling_fbclip.evaluation.aupimo import aupimo
from modeling_fbclip.evaluation.aupro import RegionOverlap
from modeling_fbclip.evaluation.metrics import METRIC_NAMES, mean_metrics, pixel_ranking
from modeling_fbclip.evaluation.ranking import Ranking

from . import literal

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
GOLDEN_NAMES = {
    **{("official", name): name for name in ("image_auroc", "image_ap", "pixel_auroc")},
    ("official", "pixel_aupro"): "pixel_aupro_published",
    ("exact", "pixel_aupro_exact"): "pixel_aupro",
    **{("exact", name): name for name in ("pixel_ap", "pixel_f1_max", "image_f1_max")},
}


def regions_of(maps, masks):
    maps, masks = [np.asarray(m, dtype=float) for m in maps], [np.asarray(m, dtype=bool) for m in masks]
    return RegionOverlap(maps, masks, pixel_ranking(maps, masks).normal)


@st.composite
def maps_and_masks(draw):
    """Up to three small maps full of ties, with both normal and anomalous pixels among them."""
    count, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(2, 6))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    maps = generator.integers(0, draw(st.integers(1, 30)), (count, height, width)).astype(np.float32) / 31
    masks = generator.random(maps.shape) < draw(st.sampled_from([0.1, 0.3, 0.6]))
    masks.flat[0], masks.flat[1] = True, False
    return maps, masks


@pytest.fixture(scope="module")
def golden_metrics():
    case = load_file(GOLDEN / "case.safetensors")
    return compute_metrics(case["anomaly_maps"], case["masks"], case["image_scores"], case["labels"])


@pytest.mark.parametrize(("part", "key"), GOLDEN_NAMES)
def test_golden_numbers(golden_metrics, part, key):
    assert golden_metrics[GOLDEN_NAMES[part, key]] == pytest.approx(EXPECTED[part][key], abs=1e-9)


def test_every_golden_number_is_checked(golden_metrics):
    assert set(GOLDEN_NAMES) == {(part, key) for part in ("official", "exact") for key in EXPECTED[part]}
    assert tuple(golden_metrics) == METRIC_NAMES
    assert golden_metrics["pixel_aupimo"] is None  # two normal images of 2880 pixels are too few


@quick
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_rankings_are_those_of_scikit_learn(samples):
    scores, labels = np.array([s / 7 for s, _ in samples] + [0.5, 0.2]), np.array([y for _, y in samples] + [1, 0])
    ranking = Ranking(scores[labels == 0], scores[labels == 1])
    assert ranking.auroc() == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert ranking.average_precision() == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert ranking.f1_max() == pytest.approx(f1.max(), abs=1e-12)


@quick
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_best_thresholds_reach_the_best_values(samples):
    scores, labels = np.array([s / 7 for s, _ in samples] + [0.5, 0.2]), np.array([y for _, y in samples] + [1, 0])
    ranking = Ranking(scores[labels == 0], scores[labels == 1])

    def f1(threshold):
        found = scores >= threshold
        return 2 * (found & (labels == 1)).sum() / (found.sum() + labels.sum())

    def youden(threshold):
        return (scores[labels == 1] >= threshold).mean() - (scores[labels == 0] >= threshold).mean()

    for quality, best in ((f1, ranking.f1_threshold()), (youden, ranking.youden_threshold())):
        assert quality(best) == pytest.approx(max(map(quality, scores)), abs=1e-12)
        assert best not in set(scores) - {scores.min()}


@quick
@given(maps_and_masks())
def test_aupro_is_its_definition(case):
    regions = regions_of(*case)
    assert regions.aupro() == pytest.approx(literal.aupro(*case), abs=1e-12)
    assert regions.aupro(max_fpr=1.0) == pytest.approx(np.trapezoid(*reversed(regions.curve())), abs=1e-12)


@quick
@given(maps_and_masks())
def test_published_aupro_is_its_definition(case):
    published, expected = regions_of(*case).aupro_published(), literal.aupro_published(*case)
    assert published == (None if expected is None else pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize("seed", [0, 1])
def test_aupimo_is_its_definition(seed):
    generator = np.random.default_rng(seed)
    maps = list(generator.random((5, 260, 250)))
    masks = [np.zeros((260, 250), dtype=bool) for _ in maps]
    for index in range(3):
        masks[index][20:60, 30:90] = True
        maps[index][masks[index]] += 0.7 * generator.random()
    assert aupimo(maps, masks) == pytest.approx(literal.aupimo(maps, masks), abs=1e-3)


def test_aupimo_counts_what_is_above_the_highest_normal_values():
    normal = np.linspace(0, 0.5, 100_000).reshape(250, 400)
    anomalous, mask = np.full((250, 400), 0.9), np.zeros((250, 400), dtype=bool)
    mask[:2, :2] = True
    anomalous[0, :2] = 0.1
    assert aupimo([normal, anomalous], [~mask & mask, mask]) == pytest.approx(0.5)
    assert aupimo([normal[1:], anomalous[1:]], [np.zeros((249, 400), bool), mask[1:]]) is None  # 99600 pixels


def test_regions_touching_at_a_corner_are_one():
    mask = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    regions = regions_of([np.zeros((4, 4))], [mask])
    assert regions.num_regions == 2


def test_a_one_pixel_region_weighs_as_much_as_a_large_one():
    maps, masks = np.zeros((1, 4, 10)), np.zeros((1, 4, 10))
    masks[0, :2, :8] = 1
    masks[0, 3, 9] = 1
    found_large, found_small = maps + masks, maps.copy()
    found_large[0, 3, 9] = 0
    found_small[0, 3, 9] = 1
    # A straight line from PRO 1/2 at rate 0 to PRO 1 at rate 1, because all other pixels are tied.
    for found in (found_large, found_small):
        assert regions_of(found, masks).aupro() == pytest.approx((0.5 + 0.65) / 2)


def test_perfect_and_reversed_maps():
    mask = np.zeros((1, 6, 6))
    mask[0, 2:4, 2:4] = 1
    scores, labels = [0.9, 0.1], [1, 0]
    perfect = compute_metrics(mask, mask, scores, labels)
    assert perfect | {"pixel_aupimo": None} == dict.fromkeys(METRIC_NAMES, 1.0) | {
        "pixel_aupimo": None,
        "pixel_aupro_published": None,  # the only false positive rate below 0.3 is 0
    }
    reverse = compute_metrics(1 - mask, mask, scores[::-1], labels)
    assert (reverse["image_auroc"], reverse["pixel_auroc"], reverse["pixel_aupro"]) == (0, 0, 0)
    assert reverse["pixel_ap"] == pytest.approx(4 / 36)


def test_all_ties_are_chance():
    mask = np.zeros((1, 4, 4))
    mask[0, 0] = 1
    metrics = compute_metrics(np.full((1, 4, 4), 0.5), mask, [0.5, 0.5], [0, 1])
    assert (metrics["image_auroc"], metrics["pixel_auroc"]) == (0.5, 0.5)
    assert (metrics["pixel_ap"], metrics["pixel_f1_max"]) == (0.25, pytest.approx(0.4))
    assert metrics["pixel_aupro"] == pytest.approx(0.15)
    assert metrics["pixel_aupro_published"] is None


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_undefined_rather_than_zero(label):
    metrics = compute_metrics(
        np.random.default_rng(0).random((2, 3, 3)), np.full((2, 3, 3), label), [0.1, 0.2], [label] * 2
    )
    assert metrics == dict.fromkeys(METRIC_NAMES)


def test_without_maps_the_image_metrics_remain():
    metrics = compute_metrics([], [], [0.1, 0.2], [0, 1])
    assert metrics["image_auroc"] == 1
    assert all(value is None for name, value in metrics.items() if name.startswith("pixel"))


def test_the_mean_leaves_out_what_is_undefined():
    one = dict.fromkeys(METRIC_NAMES, 0.5)
    mean = mean_metrics([one, one | {"image_ap": 1.0, "pixel_ap": None}, one | {"pixel_aupimo": None}])
    assert mean["image_ap"] == pytest.approx(2 / 3)
    assert mean["pixel_ap"] == 0.5
    assert mean_metrics([dict.fromkeys(METRIC_NAMES)] * 2) == dict.fromkeys(METRIC_NAMES)


def test_arrays_tensors_and_lists_give_the_same_metrics(golden_metrics):
    case = load_file(GOLDEN / "case.safetensors")
    maps, masks = case["anomaly_maps"].numpy(), case["masks"].numpy() * 255
    scores, labels = case["image_scores"].tolist(), case["labels"].tolist()
    assert compute_metrics(list(maps), list(masks), scores, labels) == golden_metrics
    half = case["anomaly_maps"].bfloat16()
    assert compute_metrics(half, masks, scores, labels) == compute_metrics(half.float(), masks, scores, labels)


@pytest.mark.parametrize(
    ("maps", "masks", "scores", "labels", "said"),
    [
        (np.zeros((2, 3, 3)), np.zeros((2, 3, 4)), [0, 1], [0, 1], r"\(3, 3\) and \(3, 4\)"),
        (np.zeros((2, 1, 3, 3)), np.zeros((2, 1, 3, 3)), [0, 1], [0, 1], "height, width"),
        (np.zeros((2, 3, 3)), np.zeros((1, 3, 3)), [0, 1], [0, 1], "2 `anomaly_maps`, but 1 `masks`"),
        (np.full((1, 3, 3), np.nan), np.zeros((1, 3, 3)), [0, 1], [0, 1], r"anomaly_maps\[0\] must be finite"),
        ([], [], [0, 1], [0, 1, 1], r"\(2,\) and \(3,\)"),
        ([], [], [0, np.inf], [0, 1], "`image_scores` must be finite"),
        ([], [], torch.zeros(2), torch.tensor([0, 2]), "`labels` must be 0 or 1"),
    ],
)
def test_wrong_arguments_are_named(maps, masks, scores, labels, said):
    with pytest.raises(ValueError, match=said):
        compute_metrics(maps, masks, scores, labels)


def test_memory_is_a_copy_of_the_maps_and_not_one_for_each_threshold():
    generator = np.random.default_rng(0)
    maps = generator.random((8, 518, 518), dtype=np.float32)
    masks = np.zeros(maps.shape, dtype=bool)
    masks[:4, 200:260, 100:200] = True
    tracemalloc.start()
    compute_metrics(maps, masks, np.arange(8.0), np.arange(8) < 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.2 * maps.nbytes


def test_one_copy_of_the_maps_is_in_memory():
    generator = np.random.default_rng(0)
    maps = [generator.random((256, 256), dtype=np.float32) for _ in range(40)]
    masks = [np.zeros((256, 256), dtype=bool) for _ in maps]
    for mask in masks[::2]:
        mask[:40, :40] = True
    scores, labels = generator.random(40), np.arange(40) % 2
    compute_metrics(maps[:2], masks[:2], scores[:2], labels[:2])  # imports
    tracemalloc.start()
    compute_metrics(maps, masks, scores, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    anomalous = sum(int(mask.sum()) for mask in masks)
    assert peak < sum(anomaly_map.nbytes for anomaly_map in maps) + 150 * anomalous


@pytest.mark.parametrize("unknown", [-100, float("nan")])
def test_unknown_pixels_are_left_out(unknown):
    rng = np.random.default_rng(0)
    maps = rng.random((4, 200, 400))
    masks = np.zeros((4, 200, 400))
    masks[:2, 50:80, 60:120] = 1
    scores, labels = [0.9, 0.8, 0.3, 0.2], [1, 1, 0, 0]
    expected = compute_metrics(maps[:, :, :200], masks[:, :, :200], scores, labels)
    masks[:, :, 200:] = unknown
    maps[:, :, 200:] = rng.random((4, 200, 200)) * 5
    found = compute_metrics(maps, masks, scores, labels)
    published = "pixel_aupro_published"  # its thresholds span the known pixels, too
    assert {name: found[name] for name in found} == pytest.approx(expected, abs=1e-12), published
    assert found["pixel_aupimo"] is None
    maps, masks = np.tile(maps, (3, 1, 1)), np.tile(masks, (3, 1, 1))
    known = compute_metrics(maps[:, :, :200], masks[:, :, :200], scores * 3, labels * 3)
    assert known["pixel_aupimo"] is not None
    assert compute_metrics(maps, masks, scores * 3, labels * 3) == pytest.approx(known, abs=1e-12)
