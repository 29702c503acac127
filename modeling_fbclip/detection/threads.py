"""Work in background threads, its results in order: reading ahead of the model, writing behind it."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = min(8, os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], limit: int, threads: int = THREADS
) -> Iterator[Result]:
    """
    As `map`, with the calls in background threads. Pillow, zlib, NumPy and PyTorch let go of Python's lock, so that
    threads are enough.

    Args:
        function: called once an item; what it raises is raised in the item's place.
        items: taken in the caller's thread.
        limit: how many results may wait, which bounds the memory.
        threads: how many there are.
    """
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # waits for what has begun, so that no file stays half-written
