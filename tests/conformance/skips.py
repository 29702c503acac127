"""The plugin that skips transformers' tests that do not apply, each with its reason."""

import pytest
from not_applicable import REASONS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = REASONS.get(f"{item.parent.name}.{item.name}") if item.parent else None
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
