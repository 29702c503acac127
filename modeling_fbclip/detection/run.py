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

    found = run_model(to_do(), results.detector, source.batch_size, on_view)
    for (item, *_, mode), row in map_in_threads(finish, found, limit=THREADS, eager=True):
        if row is not None:
            write(item, row)
        if mode is not None:
            seen.modes[mode] += 1
        count(item, earlier.pop(item) if row is None else outcome(row.label, row.error))
    return seen


def run_model(
    batches: Iterable[Batch],
    detector: Detector,
    batch_size: int,
    on_view: Callable[[int, int], object] | None = None,
) -> Iterator[Found]:
    """
    Images through the model, batch by batch, while the next ones are read.

    Args:
        batches: of images.
        detector: has the model.
        batch_size: views that go through the model at once.
        on_view: called with the number of views of a batch's images that are done, and that of all so far.
    """
    is_large = False  # as soon as an image has tiles, they take longer than reading the next one

    def load(item: Item) -> Loaded:
        nonlocal is_large
        try:
            picture = detector.processor.read_image(item.source(), item.path)
            prepared = detector.prepare(picture)
            is_large = is_large or len(prepared.views) > 1
            return Loaded(item, prepared, None)
        except (OSError, ValueError) as error:
            return Loaded(item, None, one_line(error).removeprefix(f"{shortened(item.path)}: "))

    for batch in read_ahead(batches, load, limit=lambda: 1 if is_large else batch_size):
        yield from _find(batch, detector, batch_size, on_view)


def _find(
    batch: Iterable[Loaded], detector: Detector, batch_size: int, on_view: Callable[[int, int], object] | None
) -> Iterator[Found]:
    """What becomes of the images of a batch, in order. They are read as they are needed."""
    kept: deque[Loaded] = deque()

    def prepared() -> Iterator[Prepared]:
        for loaded in batch:
            kept.append(loaded)
            if loaded.prepared is not None:
                yield loaded.prepared

    for outputs in chain(detector.run(prepared(), None, batch_size, on_view), [None]):
        while kept and kept[0].prepared is None:
            yield Found(kept[0].item, None, None, kept.popleft().error, None)
        if outputs is not None and (image := kept[0].prepared) is not None:
            mode = detector.processor.mode_of(outputs, image.size)
            yield Found(kept.popleft().item, image.picture, outputs, None, mode)


def read_ahead(
    batches: Iterable[Batch],
    read: Callable[[Item], Value],
    threads: int = THREADS,
    limit: Callable[[], int] | None = None,
) -> Iterator[Iterator[Value]]:
    """
    What `read` makes of the items of each batch, in background threads. Take all of them before the next batch.

    Args:
        batches: of items.
        read: called for each.
        threads: how many there are.
        limit: how many may wait now, by default as many as are in a batch.
    """
    remaining = iter(batches)
    first_batch = next(remaining, [])
    sizes: deque[int] = deque()

    def items() -> Iterator[Item]:
        for batch in chain([first_batch], remaining):
            sizes.append(len(batch))
            yield from batch

    values = map_in_threads(read, items(), limit or (lambda: len(first_batch)), threads)
    for first in values:
        yield chain([first], islice(values, sizes.popleft() - 1))
