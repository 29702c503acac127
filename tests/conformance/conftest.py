"""Makes transformers' tests importable, and skips those that do not apply, each with its reason."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(path) for path in Path(__file__).parents[2].glob("build/conformance/*")]
sys.path.insert(0, str(Path(__file__).parent))
from not_applicable import REASONS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = REASONS.get(f"{item.cls.__name__}.{getattr(item, 'originalname', item.name)}") if item.cls else None
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
