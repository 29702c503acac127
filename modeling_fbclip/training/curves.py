"""Curves over the epochs, as points of a drawing for the report's template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

NUM_TICKS_Y, MOST_TICKS_X = 3, 8


class Tick(NamedTuple):
    """A number at its place on an axis."""

    at: float
    text: str


class Line(NamedTuple):
    """A curve: its name, its points in units of the drawing, and where its entry in the legend begins."""

    name: str
    points: list[tuple[float, float]]
    legend: int


@dataclass
class Curves:
    """
    Several curves over the same epochs, on one scale.

    Args:
        caption: what they show.
        values: the values of each curve by epoch; a curve may lack epochs. There is at least one value.
    """

    caption: str
    values: Mapping[str, Mapping[int, float]]
    width: int = 400
    height: int = 240
    left: int = 50
    right: int = 390
    top: int = 30
    bottom: int = 210

    def __post_init__(self) -> None:
        epochs = sorted({epoch for some in self.values.values() for epoch in some})
        found = [value for some in self.values.values() for value in some.values()]
        (first, last), (lowest, highest) = _range(epochs), _range(found)

        def x_of(epoch: float) -> float:
            return round(self.left + (self.right - self.left) * (epoch - first) / (last - first), 1)

        def y_of(value: float) -> float:
            return round(self.bottom - (self.bottom - self.top) * (value - lowest) / (highest - lowest), 1)

        between = [lowest + (highest - lowest) * step / (NUM_TICKS_Y - 1) for step in range(NUM_TICKS_Y)]
        self.ticks_y = [Tick(y_of(value), f"{value:.4g}") for value in between]
        self.ticks_x = [Tick(x_of(epoch), str(epoch)) for epoch in epochs[:: 1 + (len(epochs) - 1) // MOST_TICKS_X]]
        apart = (self.right - self.left) // len(self.values)
        self.lines = [
            Line(
                name, [(x_of(epoch), y_of(value)) for epoch, value in sorted(some.items())], self.left + apart * place
            )
            for place, (name, some) in enumerate(self.values.items())
        ]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest value, apart from each other."""
    lowest, highest = min(values), max(values)
    return (lowest, highest) if lowest < highest else (lowest - 0.5, highest + 0.5)
