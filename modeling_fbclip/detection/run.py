"""The walk of `detect`: source → reader → processor → model → processor → results → writer."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple, TypeVar

from modeling_fbclip.common.messages import one_line
from modeling_fbclip.detection.detector import Detector, Prepared
from modeling_fbclip.detection.processes import Processes
from modeling_fbclip.detection.results import Found, Results
from modeling_fbclip.detection.row_files import Done
from modeling_fbclip.detection.rows import Row, outcome
from modeling_fbclip.detection.sources import Batch, Item, Source
from modeling_fbclip.detection.threads import THREADS, map_in_threads
from modeling_fbclip.files_fbclip import shortened

Value = TypeVar("Value")


class Seen(NamedTuple):
    """How many images there were of each `outcome`, of each category, and seen in each mode."""

    outcomes: Counter[str]
    categories: Counter[str]
    modes: Counter[str]


class Loaded(NamedTuple):
    """An image that was read and prepared, or the error."""

    item: Item
    prepared: Prepared | None
    error: str | None


def detect_all(
    source: Source,
    results: Results,
    processes: Processes,
    done: Done,
    write: Callable[[Item, Row], None],
    on_image: Callable[[], object],
    on_view: Callable[[int, int], object] | None = None,
) -> Seen:
    """
    Writes the rows of this process's share of the images, in order. Images that are done are skipped.

    Args:
        source: where the images come from.
        results: makes the rows and pictures.
        processes: this process and the others.
        done: which images have a row already.
        write: takes each new row.
        on_image: called after each image.
        on_view: as for `run_model`.
    """
    seen = Seen(Counter(), Counter(), Counter())
    earlier: dict[Item, tuple[str, ...]] = {}  # outcomes of images that go through the model again

    def count(item: Item, outcomes: tuple[str, ...]) -> None:
        seen.outcomes.update(outcomes)
        seen.categories[str(item.category)] += 1
        on_image()

    def to_do() -> Iterator[Batch]:
        for batch in source.batches(processes):
            known = {item: outcomes for item in batch if (outcomes := done.outcome(item)) is not None}
            if len(known) < len(batch):
                earlier.update(known)
                yield batch  # all of it: a score may differ in its last bits with the images beside it
            else:
                for item, outcomes in known.items():
                    count(item, outcomes)

    def finish(found: Found) -> tuple[Found, Row | None]:
        return found, None if found.item in earlier else results.row(found)

    found = run_model(to_do(), results.detector, on_view)
    for (item, *_, mode), row in map_in_threads(finish, found, limit=THREADS, eager=True):
        if row is not None:
            write(item, row)
        if mode is not None:
            seen.modes[mode] += 1
        count(item, earlier.pop(item) if row is None else outcome(row.label, row.error))
    return seen


def run_model(
    batches: Iterable[Batch], detector: Detector, on_view: Callable[[int, int], object] | None = None
) -> Iterator[Found]:
    """
    Images through the model, batch by batch, while the next ones are read.

    Args:
        batches: of images.
        detector: has the model.
        on_view: called with the number of views of a batch's images that are done, and that of all.
    """

    def load(item: Item) -> Loaded:
        try:
            picture = detector.processor.read_image(item.source(), item.path)
            return Loaded(item, detector.prepare(picture), None)
        except (OSError, ValueError) as error:
            return Loaded(item, None, one_line(error).removeprefix(f"{shortened(item.path)}: "))

    has_tiles = detector.processor.tile is not None
    for size, batch in read_ahead(batches, load, limit=1 if has_tiles else None):
        for group in _groups(batch, size):
            good = [loaded.prepared for loaded in group if loaded.prepared is not None]
            outputs = iter(detector.run(good, batch_size=size, on_view=on_view))
            for item, prepared, error in group:
                if prepared is None:
                    yield Found(item, None, None, error, None)
                else:
                    found = next(outputs)
                    yield Found(item, prepared.picture, found, error, detector.processor.mode_of(found, prepared.size))


def _groups(images: Iterable[Loaded], size: int) -> Iterator[list[Loaded]]:
    """The images in turn, as few together as fill a batch with their views: large ones do not wait for one another."""
    group: list[Loaded] = []
    for image in images:
        group.append(image)
        if sum(len(one.prepared.views) for one in group if one.prepared is not None) >= size:
            yield group
            group = []
    if group:
        yield group


def read_ahead(
    batches: Iterable[Batch], read: Callable[[Item], Value], threads: int = THREADS, limit: int | None = None
) -> Iterator[tuple[int, Iterator[Value]]]:
    """
    The size of each batch, and what `read` makes of its items, in background threads. Take all of them before the next
    batch.

    Args:
        batches: of items.
        read: called for each.
        threads: how many there are.
        limit: how many may wait, by default as many as are in a batch.
    """
    remaining = iter(batches)
    first_batch = next(remaining, [])
    sizes: deque[int] = deque()

    def items() -> Iterator[Item]:
        for batch in chain([first_batch], remaining):
            sizes.append(len(batch))
            yield from batch

    values = map_in_threads(read, items(), len(first_batch) if limit is None else limit, threads)
    for first in values:
        size = sizes.popleft()
        yield size, chain([first], islice(values, size - 1))
