"""What open pages show is kept within bounds."""

import pytest
from modeling_fbclip.demo import sessions
from modeling_fbclip.demo.examiner import Finding
from modeling_fbclip.demo.photos import Photo
from modeling_fbclip.demo.sessions import Sessions, Tab


def found(size=10):
    return [Finding(Photo("part.jpg", bytes(size)))]


def shown(kept):
    return [name for name in "abcd" if kept.get(name, Tab.ONE)]


def test_a_closed_page_is_forgotten():
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
def test_pages_that_were_used_longest_ago_go_first(monkeypatch, bound, value, left):
    monkeypatch.setattr(sessions, bound, value)
    kept = Sessions()
    for name in "abcad":
        kept.put(name, Tab.ONE, found())
    kept.put("c", Tab.ONE, found())
    kept.put("d", Tab.ONE, found())
    assert shown(kept) == list(left)


def test_a_page_that_was_not_used_for_long_goes(monkeypatch):
    kept = Sessions()
    kept.put("a", Tab.ONE, found())
    monkeypatch.setattr(sessions, "MAX_SECONDS", -1)
    kept.put("b", Tab.ONE, found())
    assert shown(kept) == ["b"]
