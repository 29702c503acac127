"""The images of each step. They depend only on the seed, so that a run can resume at any step."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One image of one step. If it does not count, it only keeps a process busy that has no image in this step."""

    epoch: int
    row: int
    counts: bool = True


class DrawSchedule(Sampler[list[Draw]]):
    """
    The draws of a whole run: a list for each forward pass. A step has `batch_size` images, the last one of an epoch
    the remaining ones. It has `num_parts` forward passes: processes times accumulation steps. accelerate gives them
    to the processes in turn. `seed` shuffles the images anew in each epoch; without it, they are not shuffled.
    """

    def __init__(
        self, num_images: int, batch_size: int, num_parts: int, epochs: int = 1, seed: int | None = None
    ) -> None:
        self.num_images = num_images
        self.images_per_step = batch_size
        self.num_parts = num_parts
        self.epochs = epochs
        self.seed = seed
        self.steps_per_epoch = math.ceil(num_images / batch_size)
        self.num_steps = epochs * self.steps_per_epoch

    def __len__(self) -> int:
        return self.num_steps * self.num_parts

    def __iter__(self) -> Iterator[list[Draw]]:
        for epoch in range(self.epochs):
            order = np.arange(self.num_images)
            if self.seed is not None:
                order = np.random.default_rng([self.seed, epoch]).permutation(order)
            for start in range(0, self.num_images, self.images_per_step):
                step = order[start : start + self.images_per_step]
                for part in np.array_split(step, self.num_parts):
                    draws = [Draw(epoch, int(row)) for row in part]
                    yield draws or [Draw(epoch, int(step[0]), counts=False)]
