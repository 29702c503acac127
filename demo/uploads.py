"""
Files that visitors upload: bounded on their way in, read once, and removed when the request is done.

Gradio's server stores an upload and hands its path to the browser, which names it in the request that follows. So a
path comes back from a client; only one that this server has given out, and that has not been used up, is opened.
"""

import ctypes
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .photos import MAX_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Photo

REQUEST_BYTES = MAX_TOTAL_BYTES + 100_000  # with the headers of its parts
OTHER_BYTES = 1_000_000  # of a request that uploads nothing
# Would write what a session shows to the disk, keep an upload elsewhere, and take one to pieces.
NOT_OFFERED = ("/deep_link", "/process_recording", "/component_server")
MAX_NAME = 100  # characters of a file's name that are shown
ABANDONED_SECONDS = 60  # an upload that no request follows, and a result that waits for its client, live as long


class Uploads:
    """The uploads that wait for their request, by path: the same file sent twice has one path and counts twice."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._kept: set[str] = set()
        self._arriving = 0
        self._lock = threading.Lock()

    def middleware(self, app: ASGIApp) -> "UploadGuard":
        """Wraps Gradio's server, so that uploads are bounded and become known here."""
        return UploadGuard(app, self)

    def keep(self, app: gr.Blocks) -> None:
        """Leaves the pictures of `app` itself alone: a visitor who uploads one of them gets the same path."""
        self._kept = {path for block in app.blocks.values() for path in block.keep_in_cache}

    @contextmanager
    def read(self, files: Sequence[Mapping[str, Any]]) -> Iterator[list[Photo]]:
        """
        The files of one request, as Gradio describes them (`path`, `orig_name`). They are gone when the block ends.

        Raises:
            ValueError: for a path that is no upload, for too many files and for too many bytes.
        """
        with self._lock:
            paths = [str(file.get("path")) for file in files]
            missing = Counter(paths) - self._waiting
            if not missing:
                self._waiting -= Counter(paths)
        if missing:
            raise ValueError("The upload is no longer there; send the file again.")
        try:
            if len(files) > MAX_FILES:
                raise ValueError(f"{len(files)} images are too many; at most {MAX_FILES} at once.")
            if sum(Path(path).stat().st_size for path in paths) > MAX_TOTAL_BYTES:
                raise ValueError(f"The images are too large; at most {MAX_TOTAL_BYTES / 1e6:.0f} MB together.")
            names = [str(file.get("orig_name") or "photograph")[:MAX_NAME] for file in files]
            yield [Photo(name, Path(path).read_bytes()) for name, path in zip(names, paths, strict=True)]
        finally:
            self._remove(set(paths))
            return_memory()

    @contextmanager
    def arriving(self) -> Iterator[Callable[[list[str]], None]]:
        """While an upload arrives; what it yields takes the paths that it got."""
        with self._lock:
            self._arriving += 1
        try:
            yield self._expect
        finally:
            with self._lock:
                self._arriving -= 1

    def _expect(self, paths: list[str]) -> None:
        with self._lock:
            self._waiting = Counter({path: n for path, n in self._waiting.items() if Path(path).exists()})
            self._waiting.update(paths)

    def _remove(self, paths: set[str]) -> None:
        with self._lock:
            # What arrives may be the same file; Gradio's own clock then removes both.
            unused = [] if self._arriving else [Path(path) for path in paths - self._kept if not self._waiting[path]]
            for path in unused:
                path.unlink(missing_ok=True)
                with suppress(OSError):  # another file of the same content, under another name
                    path.parent.rmdir()


def return_memory() -> None:
    """
    Gives freed memory back to the system. glibc keeps what each thread has freed for that thread, and requests come in
    many threads; elsewhere there is nothing to do.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class UploadGuard:
    """ASGI middleware that bounds requests before they are read, and tells `Uploads` where uploads are."""

    def __init__(self, app: ASGIApp, uploads: Uploads) -> None:
        self.app = app
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        is_upload = path.endswith("/upload")
        if path.endswith(NOT_OFFERED):
            await PlainTextResponse("Not offered here.", 404)(scope, receive, send)
        elif scope.get("method") == "POST" and not _fits(scope, REQUEST_BYTES if is_upload else OTHER_BYTES):
            refusal = f"Send at most {MAX_TOTAL_BYTES / 1e6:.0f} MB at once, {MAX_BYTES / 1e6:.0f} MB a file."
            await PlainTextResponse(refusal, 413)(scope, receive, send)
        elif is_upload and scope.get("method") == "POST":
            await self._pass_on(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = bytearray()
        status = 0
        with self.uploads.arriving() as expect:

            async def note(message: Message) -> None:
                nonlocal status
                status = message.get("status", status)
                answer.extend(message.get("body", b""))
                if message["type"] == "http.response.body" and not message.get("more_body") and status == 200:
                    expect(json.loads(answer))
                await send(message)

            await self.app(scope, receive, note)


def _fits(scope: Scope, most: int) -> bool:
    """Whether a request says how long it is, and is no longer than `most` bytes."""
    size = dict(scope["headers"]).get(b"content-length", b"")
    return size.isdigit() and int(size) <= most


def fetch_no_links(app: gr.Blocks) -> None:
    """Gradio downloads where a client names a link in place of an upload; a component of `app` then refuses."""

    def refusing(store: Callable[..., Any]) -> Callable[..., Any]:
        async def store_unless_link(source: Any) -> Any:
            if str(source).lower().startswith(("http:", "https:")):
                raise gr.Error("Links are not fetched; upload the file.")
            return await store(source)

        return store_unless_link

    for block in app.blocks.values():
        block.async_move_resource_to_block_cache = refusing(  # type: ignore[method-assign]
            block.async_move_resource_to_block_cache
        )
