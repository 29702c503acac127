"""Which rows are held out: equal shares of each group, whole sources, and no kind or label is lost."""

from collections import Counter

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from conftest import quick
from modeling_fbclip.training.selection import default_share, split_rows


def rows_of(labels, categories, **columns):
    return Dataset.from_dict({"label": labels, "category": categories, **columns})


def kinds_of(counts):
    """Rows of kinds with so many images each; those called good are normal."""
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    return rows_of([int(kind != "good") for kind in kinds], [None] * len(kinds), defect=kinds)


def test_the_same_share_of_each_group_is_held_out():
    rows = rows_of([0] * 20 + [1] * 10 + [0] * 10 + [1] * 10, ["a"] * 30 + ["b"] * 20)
    trained, held_out = split_rows(rows, 0.2, seed=1)
    assert sorted(trained + held_out) == list(range(50))
    bounds = ((0, 20), (20, 30), (30, 40), (40, 50))
    assert [sum(low <= i < high for i in held_out) for low, high in bounds] == [4, 2, 2, 2]
    assert split_rows(rows, 0.2, seed=1) == (trained, held_out)
    assert split_rows(rows, 0.2, seed=2) != (trained, held_out)
    assert split_rows(rows, 0.0, seed=1) == (list(range(50)), [])


def test_the_share_is_of_all_kinds_and_no_kind_is_lost_to_training():
    rows = kinds_of({f"kind {number}": 3 for number in range(10)} | {"rare": 1, "good": 20})
    trained, held_out = split_rows(rows, 0.2, seed=0)
    found = Counter(rows.select(held_out)["defect"])
    assert found.pop("good") == 4
    assert list(found.values()) == [1] * 6
    assert set(rows.select(trained)["defect"]) == set(rows["defect"])


def test_labels_come_before_kinds_where_every_kind_is_rare():
    rows = kinds_of({"good": 10} | {f"kind {number}": 1 for number in range(10)})
    assert Counter(rows.select(split_rows(rows, 0.2, seed=0)[1])["label"]) == {0: 2, 1: 2}


def test_a_source_lies_on_one_side_whatever_its_labels():
    names = [f"parts/lot{lot}_view{view}.png" for lot in range(20) for view in range(4)]
    labels = [int(lot % 2 or view == 3) for lot in range(20) for view in range(4)]
    rows = rows_of(labels, ["part"] * 80, path=names)
    trained, held_out = split_rows(rows, 0.2, seed=3)
    sides = [{names[row].split("_")[0] for row in side} for side in (trained, held_out)]
    assert sides[0].isdisjoint(sides[1])
    assert len(held_out) == 16
    assert Counter(labels[row] for row in held_out) == Counter({0: 6, 1: 10})


def test_sources_that_would_keep_a_label_from_one_side_do_not_count():
    names = [f"lot{lot}_{view}.png" for lot in range(5) for view in range(2 if lot else 40)]
    labels = [view % 2 for lot in range(5) for view in range(2 if lot else 40)]
    kinds = [f"lot {name[3]}" for name in names]  # holding out a lot would lose its kind
    trained, held_out = split_rows(rows_of(labels, [""] * 48, path=names, defect=kinds), 0.2, seed=0)
    assert {labels[row] for row in held_out} == {labels[row] for row in trained} == {0, 1}
    assert len(held_out) == 10


def test_identical_pixels_lie_on_one_side():
    digests = [str(index // 2) for index in range(40)]
    trained, held_out = split_rows(rows_of([0] * 20 + [1] * 20, [""] * 40, digest=digests), 0.2, seed=0)
    assert {digests[row] for row in trained}.isdisjoint(digests[row] for row in held_out)
    assert len(held_out) == 8


def test_the_order_of_the_rows_does_not_matter():
    rows = rows_of([0] * 30 + [1] * 20, [""] * 50, path=[f"{index}.png" for index in range(50)])
    chosen = set(rows.select(split_rows(rows, 0.2, seed=5)[1])["path"])
    turned = rows.select(range(49, -1, -1))
    assert set(turned.select(split_rows(turned, 0.2, seed=5)[1])["path"]) == chosen


@quick
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 9)), min_size=10, max_size=60),
    st.sampled_from([0.1, 0.2, 0.5]),
)
def test_every_row_is_on_one_side_and_so_is_every_label(images, fraction):
    labels, kinds, sources = map(list, zip(*images, strict=True))
    names = [f"lot{source}_{index}.png" for index, source in enumerate(sources)]
    rows = rows_of(labels, ["a"] * len(labels), defect=[f"{kind}" for kind in kinds], path=names)
    if min(Counter(labels).values()) < 2:
        with pytest.raises(ValueError, match="cannot split"):
            split_rows(rows, fraction, seed=0)
        return
    trained, held_out = split_rows(rows, fraction, seed=0)
    assert sorted(trained + held_out) == list(range(len(labels)))
    assert {labels[row] for row in held_out} == {labels[row] for row in trained} == set(labels)


def test_a_label_that_cannot_be_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="cannot split 2 images so that both parts have images of each label"):
        split_rows(rows_of([0, 1], ["a", "a"]), 0.1, seed=0)
    with pytest.raises(ValueError, match="cannot split 11 images"):
        split_rows(rows_of([0] * 10 + [1], ["a"] * 11), 0.6, seed=0)


@pytest.mark.parametrize(
    ("good", "anomalous", "share"),
    [
        (12, 8, 0.2),
        (100, 8, 0.2),
        (11, 8, 0.0),
        (100, 7, 0.0),
        (7, 100, 0.0),
        (20, 0, 0.2),
        (19, 0, 0.0),
        (0, 20, 0.2),
    ],
)
def test_a_share_is_held_out_by_default_where_it_can_judge(good, anomalous, share):
    assert default_share([0] * good + [1] * anomalous) == share
