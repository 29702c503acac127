"""The findings of open pages stay within limits."""

import pytest
from modeling_fbclip.demo import sessions
from modeling_fbclip.demo.examiner import Finding
from modeling_fbclip.demo.photos import Photo
from modeling_fbclip.demo.sessions import Sessions, Tab


def found(size=10):
    return [Finding(Photo("part.jpg", bytes(size)))]


def shown(kept):
    return [name for name in "abcd" if kept.get(name, Tab.ONE)]


def test_the_findings_of_a_closed_page_are_removed():
    kept = Sessions()
    kept.put("a", Tab.ONE, found())
    kept.put("a", Tab.MANY, found())
    kept.put("b", Tab.ONE, found())
    assert len(kept.get("a", Tab.MANY)) == 1
    kept.forget("a")
    assert shown(kept) == ["b"]
    assert kept.get("a", Tab.MANY) == []


@pytest.mark.parametrize(
    ("bound", "value", "left"), [("MAX_PAGES", 2, "cd"), ("MAX_BYTES", 25, "cd"), ("MAX_BYTES", 5, "d")]
)
def test_the_page_with_the_oldest_change_is_removed_first(monkeypatch, bound, value, left):
    monkeypatch.setattr(sessions, bound, value)
    kept = Sessions()
    for name in "abcad":
        kept.put(name, Tab.ONE, found())
    kept.put("c", Tab.ONE, found())
    kept.put("d", Tab.ONE, found())
    assert shown(kept) == list(left)


def test_a_page_without_a_change_for_long_is_removed(monkeypatch):
    kept = Sessions()
    kept.put("a", Tab.ONE, found())
    monkeypatch.setattr(sessions, "MAX_SECONDS", -1)
    kept.put("b", Tab.ONE, found())
    assert shown(kept) == ["b"]
