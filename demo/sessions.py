"""The findings of each open page, in memory, so that a slider can redraw them without running the model."""

import threading
import time
from collections import OrderedDict
from enum import StrEnum
from typing import NamedTuple

from .examiner import Finding

MAX_PAGES = 32
MAX_BYTES = 200_000_000  # of their photographs, which are examined again when settings change
MAX_SECONDS = 3600  # a browser that crashes does not report that its page is closed


class Tab(StrEnum):
    """The two tabs of the page."""

    ONE = "one"
    MANY = "many"


class Page(NamedTuple):
    """The findings of one page, and the time of their last change in seconds."""

    findings: dict[Tab, list[Finding]]
    changed: float

    @property
    def size(self) -> int:
        """Bytes of its photographs."""
        return sum(len(finding.photo.data) for findings in self.findings.values() for finding in findings)


class Sessions:
    """The findings of the pages that used the server last, by Gradio's session hash, within the limits above."""

    def __init__(self) -> None:
        self._pages: OrderedDict[str, Page] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, session: str | None, tab: Tab, findings: list[Finding]) -> None:
        """Replaces the findings of a tab of a page."""
        with self._lock:
            now = time.monotonic()
            known = self._pages.pop(str(session), Page({}, now))
            self._pages[str(session)] = Page(known.findings | {tab: findings}, now)
            while len(self._pages) > 1 and self._is_over(now):
                self._pages.popitem(last=False)

    def _is_over(self, now: float) -> bool:
        oldest = next(iter(self._pages.values()))
        total = sum(page.size for page in self._pages.values())
        return len(self._pages) > MAX_PAGES or total > MAX_BYTES or now - oldest.changed > MAX_SECONDS

    def get(self, session: str | None, tab: Tab) -> list[Finding]:
        """The findings of a tab of a page; empty if they were removed."""
        page = self._pages.get(str(session))
        return page.findings.get(tab, []) if page else []

    def forget(self, session: str | None) -> None:
        """Removes the findings of a page."""
        with self._lock:
            self._pages.pop(str(session), None)
