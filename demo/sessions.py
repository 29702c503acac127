"""What each open page shows, in memory, so that moving a slider draws anew without running the model again."""

import threading
from collections import OrderedDict
from enum import StrEnum

from .detection import Finding

MAX_PAGES = 32


class Tab(StrEnum):
    """The two halves of the page."""

    ONE = "one"
    MANY = "many"


class Sessions:
    """Findings of the last `MAX_PAGES` pages that used the server, by Gradio's session hash."""

    def __init__(self) -> None:
        self._findings: OrderedDict[str, dict[Tab, list[Finding]]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, session: str | None, tab: Tab, findings: list[Finding]) -> None:
        """Replaces what a tab of a page shows."""
        with self._lock:
            key = str(session)
            self._findings.setdefault(key, {})[tab] = findings
            self._findings.move_to_end(key)
            while len(self._findings) > MAX_PAGES:
                self._findings.popitem(last=False)

    def get(self, session: str | None, tab: Tab) -> list[Finding]:
        """What a tab of a page shows; nothing, if that was too long ago."""
        return self._findings.get(str(session), {}).get(tab, [])

    def forget(self, session: str | None) -> None:
        """For a page that was closed."""
        with self._lock:
            self._findings.pop(str(session), None)
