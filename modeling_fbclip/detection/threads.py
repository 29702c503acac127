"""Work in background threads, its results in order: reading ahead of the model, writing behind it."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

# Launchers say how many processes share this machine.
THREADS = max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    limit: int | Callable[[], int],
    threads: int = THREADS,
    eager: bool = False,
) -> Iterator[Result]:
    """
    Like `map`, but the calls run in background threads. Pillow, zlib, NumPy and PyTorch release Python's lock.

    Args:
        function: called once an item; what it raises is raised in the item's place.
        items: taken in the caller's thread. If they end in an error, the results so far come before it.
        limit: how many results may wait, which bounds the memory; or a function that says so now.
        threads: how many there are.
        eager: whether a result is given out when it is ready, or only when `limit` of them wait.
    """
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Result]] = deque()
    failure: Exception | None = None
    remaining = iter(items)
    try:
        while failure is None:
            try:
                waiting.append(pool.submit(function, next(remaining)))
            except StopIteration:
                break
            except Exception as error:
                failure = error
            while len(waiting) > (limit() if callable(limit) else limit) or (eager and waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)  # waits for what has begun, so that no file stays half-written
