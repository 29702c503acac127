"""Work in background threads: results in order, a bounded number of them, errors where they belong."""

import threading
import time

import pytest

from modeling_fbclip.detection.threads import map_in_threads


def test_results_come_in_the_order_of_the_items():
    def slow_first(number):
        time.sleep(0.05 if number % 4 == 0 else 0)
        return number

    assert list(map_in_threads(slow_first, range(20), limit=8, threads=4)) == list(range(20))


def test_no_more_than_the_limit_wait_for_the_caller():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    results = map_in_threads(lambda number: number, items(), limit=3, threads=2)
    assert next(results) == 0
    time.sleep(0.05)
    assert len(taken) == 4  # the one that was given out, and three that wait
    results.close()
    assert len(taken) == 4


def test_an_error_is_raised_in_its_items_place_and_ends_the_work():
    begun = []

    def fail_at_three(number):
        begun.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    found = []
    with pytest.raises(ValueError, match="three"):
        found.extend(map_in_threads(fail_at_three, range(100), limit=2, threads=1))
    assert found == [0, 1, 2]
    assert max(begun) <= 6


def test_results_so_far_come_before_an_error_of_the_items():
    def items():
        yield from range(5)
        raise OSError("the stream broke")

    found = []
    with pytest.raises(OSError, match="the stream broke"):
        found.extend(map_in_threads(lambda number: number, items(), limit=8))
    assert found == [0, 1, 2, 3, 4]


def test_an_eager_result_does_not_wait_for_others():
    def items():
        yield 0
        time.sleep(0.2)
        yield 1

    begun = time.monotonic()
    results = map_in_threads(lambda number: number, items(), limit=8, eager=True)
    next(results)
    first = time.monotonic() - begun
    next(results)
    assert first < 0.2 <= time.monotonic() - begun


def test_items_are_taken_in_the_callers_thread():
    threads = []

    def items():
        threads.append(threading.current_thread())
        yield 1

    assert list(map_in_threads(lambda _: threading.current_thread(), items(), limit=1)) != threads
    assert threads == [threading.current_thread()]
