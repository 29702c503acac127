"""Every image is drawn once an epoch, for any number of parts."""

from hypothesis import given
from hypothesis import strategies as st

from modeling_fbclip.training.schedule import DrawSchedule


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
