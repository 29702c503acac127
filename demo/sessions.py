"""What each open page has sent and seen, in memory and for a limited time."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .examiner import Finding
from .photos import Photo, PhotoSet

MAX_PAGES = 32
MAX_BYTES = 200_000_000  # of their photographs, which are examined again when settings change
MAX_SECONDS = 1800  # since the last change; a browser that crashes does not report that its page is closed


class Tab(StrEnum):
    """The two tabs of the page."""

    ONE = "one"
    MANY = "many"


@dataclass(eq=False)
class Work:
    """
    Photographs that were sent together, and the findings so far: for each, one a side.

    Attributes:
        problem: why there are none.
        asked: the settings and references that the findings are for.
        among: the photographs, to be compared with one another.
        token: names the work in addresses of downloads; nobody can guess it.
    """

    photos: Sequence[Photo]
    problem: str = ""
    asked: Any = None
    findings: list[list[Finding]] = field(default_factory=list)
    among: PhotoSet = field(init=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def __post_init__(self) -> None:
        self.among = PhotoSet(self.photos)


@dataclass
class Page:
    """The state of one page. `changed` is in seconds."""

    model: str | None = None
    references: PhotoSet = field(default_factory=PhotoSet)
    works: dict[Tab, Work] = field(default_factory=dict)
    changed: float = 0

    @property
    def size(self) -> int:
        """Bytes of its photographs."""
        photos = [photo for work in self.works.values() for photo in work.photos]
        return sum(len(photo.data) for photo in (*photos, *self.references.photos))


class Sessions:
    """The pages that used the server last, by Gradio's session hash, within the limits above."""

    def __init__(self) -> None:
        self._pages: OrderedDict[str, Page] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, session: str | None) -> Page:
        """The state of a page; an empty one if it was removed."""
        return self._pages.get(str(session)) or Page()

    def work(self, session: str | None, tab: Tab) -> Work | None:
        """What was sent last to a tab of a page."""
        return self.get(session).works.get(tab)

    def find(self, token: str) -> Work | None:
        """The work with this token."""
        with self._lock:
            works = [work for page in self._pages.values() for work in page.works.values()]
        return next((work for work in works if secrets.compare_digest(work.token, token)), None)

    def put_work(self, session: str | None, tab: Tab, work: Work) -> None:
        """Replaces the work of a tab of a page."""
        with self._changing(session) as page:
            page.works[tab] = work

    def put_references(self, session: str | None, references: Sequence[Photo]) -> None:
        """Replaces the reference images of a page."""
        with self._changing(session) as page:
            page.references = PhotoSet(references)

    def put_model(self, session: str | None, model: str) -> None:
        """Notes the model that a page has loaded."""
        with self._changing(session) as page:
            page.model = model

    def forget(self, session: str | None) -> None:
        """Removes a page."""
        with self._lock:
            self._pages.pop(str(session), None)

    def expire(self) -> None:
        """Removes the pages without a change for long."""
        with self._lock:
            self._bound()

    @contextmanager
    def _changing(self, session: str | None) -> Iterator[Page]:
        with self._lock:
            page = self._pages.pop(str(session), Page())
            self._pages[str(session)] = page
            yield page
            page.changed = time.monotonic()
            self._bound()

    def _bound(self) -> None:
        now = time.monotonic()
        while self._pages and now - next(iter(self._pages.values())).changed > MAX_SECONDS:
            self._pages.popitem(last=False)
        while len(self._pages) > 1 and (
            len(self._pages) > MAX_PAGES or sum(page.size for page in self._pages.values()) > MAX_BYTES
        ):
            self._pages.popitem(last=False)
