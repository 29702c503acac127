"""The views of images through the model, in batches of one size that those of several images fill."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor

from modeling_fbclip.detection.threads import map_in_threads
from modeling_fbclip.views_fbclip import Size, View

Outputs = dict[str, Tensor]  # of one view, as the processor's `post_process_views` takes them


@dataclass
class Prepared:
    """A picture, what the model sees of it, and the model's input for the first of these views: the whole picture."""

    picture: Image.Image
    views: list[View]
    whole: Tensor

    @property
    def size(self) -> Size:
        """Height and width of the picture."""
        return self.picture.height, self.picture.width


@dataclass
class _Image:
    """An image on its way, and the outputs of those of its views that are done, by their places."""

    prepared: Prepared
    outputs: dict[int, Outputs] = field(default_factory=dict)


Place = tuple[_Image, int]  # a view: its image, and its place in the image's views


class ViewBatches:
    """
    Runs views in batches. An image is held until its last view is done, so memory does not grow with the number of
    views.

    Args:
        prepare: the model's input for a view that is not the whole image.
        run: the model's outputs for inputs of one size, and the place of each in its image's views.
        batch_size: the most views of a batch.
        on_view: called after each batch with the number of views that are done, and that of all so far.
    """

    def __init__(
        self,
        prepare: Callable[[Image.Image, View], Tensor],
        run: Callable[[Sequence[Tensor], Sequence[int]], list[Outputs]],
        batch_size: int,
        on_view: Callable[[int, int], object] | None,
    ) -> None:
        self.prepare, self.run, self.batch_size, self.on_view = prepare, run, batch_size, on_view
        self._waiting: dict[Size, list[Place]] = {}
        self._done = self._total = 0

    def __call__(self, images: Iterable[Prepared]) -> Iterator[list[Outputs]]:
        """The outputs of all views of each image, in order."""
        held: deque[_Image] = deque()
        for prepared in images:
            image = _Image(prepared)
            held.append(image)
            self._total += len(prepared.views)
            for place, view in enumerate(prepared.views):
                waiting = self._waiting.setdefault(view.size, [])
                waiting.append((image, place))
                if len(waiting) == self.batch_size:
                    self._run(self._waiting.pop(view.size))
            while held and len(held[0].outputs) == len(held[0].prepared.views):
                yield _ordered(held.popleft())
        while self._waiting:
            self._run(self._waiting.popitem()[1])
        yield from map(_ordered, held)

    def _run(self, batch: list[Place]) -> None:
        inputs = list(map_in_threads(self._input, batch, limit=len(batch)))
        for (image, place), outputs in zip(batch, self.run(inputs, [place for _, place in batch]), strict=True):
            image.outputs[place] = outputs
        self._done += len(batch)
        if self.on_view is not None:
            self.on_view(self._done, self._total)

    def _input(self, view: Place) -> Tensor:
        image, place = view[0].prepared, view[1]
        return image.whole if place == 0 else self.prepare(image.picture, image.views[place])


def _ordered(image: _Image) -> list[Outputs]:
    return [outputs for _, outputs in sorted(image.outputs.items())]
