"""What open pages have sent stays within limits."""

import pytest
from modeling_fbclip.demo import sessions
from modeling_fbclip.demo.photos import Photo
from modeling_fbclip.demo.sessions import Sessions, Tab, Work


def sent(size=10):
    return Work([Photo("part.jpg", bytes(size))])


def shown(kept):
    return [name for name in "abcd" if kept.work(name, Tab.ONE)]


def test_what_a_closed_page_has_sent_is_removed():
    kept = Sessions()
    first = sent()
    kept.put_work("a", Tab.ONE, first)
    kept.put_work("a", Tab.MANY, sent())
    kept.put_work("b", Tab.ONE, sent())
    assert kept.find(first.token) is first
    kept.forget("a")
    assert shown(kept) == ["b"]
    assert kept.work("a", Tab.MANY) is kept.find(first.token) is None


@pytest.mark.parametrize(
    ("bound", "value", "left"), [("MAX_PAGES", 2, "cd"), ("MAX_BYTES", 25, "cd"), ("MAX_BYTES", 5, "d")]
)
def test_the_page_with_the_oldest_change_is_removed_first(monkeypatch, bound, value, left):
    monkeypatch.setattr(sessions, bound, value)
    kept = Sessions()
    for name in "abcadcd":
        kept.put_work(name, Tab.ONE, sent())
    assert shown(kept) == list(left)


def test_good_images_count_as_photographs(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_BYTES", 25)
    kept = Sessions()
    kept.put_work("a", Tab.ONE, sent())
    kept.put_references("b", sent(20).photos)
    assert shown(kept) == []
    assert len(kept.get("b").references.photos) == 1


def test_pages_expire_by_time_without_another_request(monkeypatch):
    kept = Sessions()
    kept.put_work("a", Tab.ONE, sent())
    kept.expire()
    assert shown(kept) == ["a"]
    monkeypatch.setattr(sessions, "MAX_SECONDS", -1)
    kept.expire()
    assert shown(kept) == []
