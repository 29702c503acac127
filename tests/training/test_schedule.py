"""Every image is drawn once an epoch, for any number of parts, and every group has held-out images."""

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from modeling_fbclip.training.schedule import DrawSchedule
from modeling_fbclip.training.selection import split_rows


@given(
    num_images=st.integers(1, 30),
    batch_size=st.integers(1, 9),
    num_parts=st.integers(1, 5),
    epochs=st.integers(1, 3),
)
def test_every_image_counts_once_an_epoch_and_steps_do_not_depend_on_parts(num_images, batch_size, num_parts, epochs):
    schedule = DrawSchedule(num_images, batch_size, num_parts, epochs, seed=0)
    lists = list(schedule)
    assert len(lists) == len(schedule) == schedule.num_steps * num_parts
    assert all(lists)
    counted = [draw for draws in lists for draw in draws if draw.counts]
    assert sorted(counted) == [(epoch, row, True) for epoch in range(epochs) for row in range(num_images)]
    assert counted == [draw for draws in DrawSchedule(num_images, batch_size, 1, epochs, seed=0) for draw in draws]
    whole = list(DrawSchedule(num_images, batch_size, 1, epochs, seed=0))
    for step, draws in enumerate(whole):
        parts = lists[step * num_parts : (step + 1) * num_parts]
        assert [draw for part in parts for draw in part if draw.counts] == draws


def test_the_order_differs_between_epochs_and_seeds():
    def order(seed, epoch):
        return [draw.row for draws in DrawSchedule(20, 4, 1, 2, seed) for draw in draws if draw.epoch == epoch]

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def rows_of(labels, categories):
    return Dataset.from_dict({"label": labels, "category": categories})


def test_the_same_share_of_each_group_is_held_out():
    rows = rows_of([0] * 20 + [1] * 10 + [0] * 10 + [1] * 10, ["a"] * 30 + ["b"] * 20)
    trained, held_out = split_rows(rows, 0.2, seed=1)
    assert sorted(trained + held_out) == list(range(50))
    assert [sum(low <= i < high for i in held_out) for low, high in ((0, 20), (20, 30), (30, 40), (40, 50))] == [
        4,
        2,
        2,
        2,
    ]
    assert split_rows(rows, 0.2, seed=1) == (trained, held_out)
    assert split_rows(rows, 0.2, seed=2) != (trained, held_out)
    assert split_rows(rows, 0.0, seed=1) == (list(range(50)), [])


def test_a_share_that_holds_out_nothing_or_a_whole_class_is_refused():
    with pytest.raises(ValueError, match="cannot split 2 images"):
        split_rows(rows_of([0, 1], ["a", "a"]), 0.1, seed=0)
    with pytest.raises(ValueError, match="cannot split 11 images"):
        split_rows(rows_of([0] * 10 + [1], ["a"] * 11), 0.6, seed=0)
