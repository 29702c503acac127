"""The views of images through the model, in batches of one size that those of several images fill; pure."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from torch import Tensor

from .views_fbclip import Size, View

MOST_PIXELS = 50_000_000  # of images that wait for others, so that large ones do not fill the memory

Image = TypeVar("Image")
Outputs = dict[str, Tensor]  # of one view, as the processor's `post_process_views` takes them
Plan = Sequence[View]  # of an image, the whole first
Place = tuple[Image, int]  # a view: its image, and its place in the image's plan


class ViewBatches(Generic[Image]):
    """
    Runs views in batches. An image is held until its last view is done.

    Args:
        run: the model's outputs for views of one size.
        batch_size: the most views of a batch.
        on_view: called after each batch with the number of views that are done, and that of all so far.
    """

    def __init__(
        self,
        run: Callable[[list[Place[Image]]], list[Outputs]],
        batch_size: int,
        on_view: Callable[[int, int], object] | None = None,
    ) -> None:
        self.run, self.batch_size, self.on_view = run, batch_size, on_view
        self._waiting: dict[Size, list[tuple[dict[int, Outputs], Place[Image]]]] = {}
        self._done = self._total = 0

    def __call__(self, images: Iterable[tuple[Image, Plan]]) -> Iterator[list[Outputs]]:
        """The outputs of all views of each image, in order. Images are taken as they are needed."""
        held: deque[tuple[Plan, dict[int, Outputs]]] = deque()  # with what is done, by places
        for image, plan in images:
            found: dict[int, Outputs] = {}
            held.append((plan, found))
            self._total += len(plan)
            for place, view in enumerate(plan):
                waiting = self._waiting.setdefault(view.size, [])
                waiting.append((found, (image, place)))
                if len(waiting) == self.batch_size:
                    self._run(view.size)
            if sum(plan[0].pixels for plan, _ in held) > MOST_PIXELS:
                self._run_all()
            while held and len(held[0][1]) == len(held[0][0]):
                yield _ordered(held.popleft()[1])
        self._run_all()
        yield from (_ordered(found) for _, found in held)

    def _run_all(self) -> None:
        for size in list(self._waiting):
            self._run(size)

    def _run(self, size: Size) -> None:
        batch = self._waiting.pop(size)
        for (found, (_, place)), outputs in zip(batch, self.run([each for _, each in batch]), strict=True):
            found[place] = outputs
        self._done += len(batch)
        if self.on_view is not None:
            self.on_view(self._done, self._total)


def _ordered(found: dict[int, Outputs]) -> list[Outputs]:
    return [outputs for _, outputs in sorted(found.items())]
