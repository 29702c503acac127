"""Chooses rows to hold out: in equal shares of groups, and whole sources at a time."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.cluster.hierarchy import DisjointSet

Group = tuple[str, int, str]  # category, label and kind


class _Unit:
    """Rows that are on one side: how many there are of each group and of each label."""

    def __init__(self, counts: tuple[tuple[Group, int], ...]) -> None:
        self.groups = Counter(dict(counts))
        self.labels: Counter[int] = Counter()
        for (_, label, _), count in counts:
            self.labels[label] += count


def hold_out(
    groups: Sequence[Group], together: Sequence[Sequence[str]], names: Sequence[str], fraction: float, seed: int
) -> set[int]:
    """
    The rows to hold out: `fraction` of each label's rows, as evenly of its groups as can be. No group is held out
    whole. Rows with the same value in one of `together` are on one side, unless it is empty. Where choices are equal,
    the seed and the `names` of the rows decide.
    """
    # Units with the same numbers of rows of each group are equal choices. The last of a list is the next.
    alike: dict[tuple[tuple[Group, int], ...], list[tuple[bytes, list[int]]]] = defaultdict(list)
    for rows in _rows_together(together, len(groups)):
        counts = tuple(sorted(Counter(groups[row] for row in rows).items()))
        alike[counts].append((_rank(min(names[row] for row in rows), seed), rows))
    for ranked in alike.values():
        ranked.sort(reverse=True)
    units = {counts: _Unit(counts) for counts in alike}

    left, labels = Counter(groups), Counter(label for _, label, _ in groups)
    group_needs = {group: count * fraction for group, count in left.items()}
    label_needs = {label: _share(count, fraction) for label, count in labels.items()}
    held_out: set[int] = set()
    while True:
        choices = []
        for counts, unit in units.items():
            if alike[counts] and all(left[group] > count for group, count in counts):
                nearer = _change(label_needs, unit.labels)
                if nearer < 0:
                    change = (nearer + _change(group_needs, unit.groups)) / unit.groups.total()
                    choices.append((round(change, 9), alike[counts][-1][0], counts))
        if not choices:
            return held_out
        counts = min(choices)[2]
        held_out.update(alike[counts].pop()[1])
        left.subtract(units[counts].groups)
        for group, count in counts:
            group_needs[group] -= count
            label_needs[group[1]] -= count


def _share(count: int, fraction: float) -> int:
    """How many of a label's rows to hold out: at least one, and not all."""
    return min(max(round(count * fraction), 1), count - 1)


def _change(needs: Mapping[Any, float], counts: Mapping[Any, int]) -> float:
    """By how much the needs are farther from zero when these rows are held out; below zero if they are nearer."""
    return sum(abs(needs[key] - count) - abs(needs[key]) for key, count in counts.items())


def _rank(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest()


def _rows_together(together: Sequence[Sequence[str]], num_rows: int) -> list[list[int]]:
    sides = DisjointSet(range(num_rows))
    for values in together:
        first: dict[str, int] = {}
        for row, value in enumerate(values):
            if value:
                sides.merge(first.setdefault(value, row), row)
    return [sorted(rows) for rows in sides.subsets()]
