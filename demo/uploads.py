"""
Files that visitors upload: limited in size, read once, and deleted at the end of the request.

Gradio's server stores an upload and tells the browser its path. The browser sends this path with its next request. A
client could send any path, so only paths of uploads that are not yet used are opened.
"""

import ctypes
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .photos import MAX_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Photo

REQUEST_BYTES = MAX_TOTAL_BYTES + 100_000  # of an upload, with the headers of its parts
OTHER_BYTES = 1_000_000  # of a request without an upload
# Gradio's routes that save a session to the disk, save an upload in another place, and run methods of components.
NOT_OFFERED = ("/deep_link", "/process_recording", "/component_server")
MAX_NAME = 100  # characters of a file's name that are shown
ABANDONED_SECONDS = 60  # after which unused uploads and results that no client has fetched are deleted


class Uploads:
    """The paths of unused uploads. A file that is sent twice has one path, which counts twice."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._kept: set[str] = set()
        self._arriving = 0
        self._lock = threading.Lock()

    def keep(self, app: gr.Blocks) -> None:
        """Never deletes the pictures of `app` itself. If a visitor uploads one of them, it has the same path."""
        self._kept = {path for block in app.blocks.values() for path in block.keep_in_cache}

    @contextmanager
    def read(self, files: Sequence[Mapping[str, Any]]) -> Iterator[list[Photo]]:
        """
        Reads the files of one request, as Gradio describes them (`path`, `orig_name`). They are deleted when the block
        ends.

        Raises:
            ValueError: a path is not that of an unused upload, or there are too many files or bytes.
        """
        paths = [str(file.get("path")) for file in files]
        with self._lock:
            if Counter(paths) - self._waiting:
                raise ValueError("The upload is no longer there; send the file again.")
            self._waiting -= Counter(paths)
        try:
            if len(files) > MAX_FILES:
                raise ValueError(f"{len(files)} images are too many; at most {MAX_FILES} at once.")
            if sum(Path(path).stat().st_size for path in paths) > MAX_TOTAL_BYTES:
                raise ValueError(f"The images are too large; at most {MAX_TOTAL_BYTES / 1e6:.0f} MB together.")
            names = [str(file.get("orig_name") or "photograph")[:MAX_NAME] for file in files]
            yield [Photo(name, Path(path).read_bytes()) for name, path in zip(names, paths, strict=True)]
        finally:
            self._remove(set(paths))
            # glibc keeps freed memory for each thread, and requests run in many threads.
            with suppress(OSError, AttributeError):  # there is no glibc
                ctypes.CDLL("libc.so.6").malloc_trim(0)

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Deletes no file while the block runs: an upload arrives that may have the path of another."""
        with self._lock:
            self._arriving += 1
        try:
            yield
        finally:
            with self._lock:
                self._arriving -= 1

    def expect(self, paths: list[str]) -> None:
        """Adds uploads that have arrived."""
        with self._lock:
            self._waiting = Counter({path: n for path, n in self._waiting.items() if Path(path).exists()})
            self._waiting.update(paths)

    def _remove(self, paths: set[str]) -> None:
        with self._lock:
            if self._arriving:  # Gradio deletes the files later
                return
            for path in (Path(path) for path in paths - self._kept if not self._waiting[path]):
                path.unlink(missing_ok=True)
                with suppress(OSError):  # the folder holds a file of the same content and another name
                    path.parent.rmdir()


@dataclass
class UploadGuard:
    """ASGI middleware that limits the size of requests before they are read, and tells `Uploads` the paths."""

    app: ASGIApp
    uploads: Uploads

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
        with self.uploads.arriving():

            async def note(message: Message) -> None:
                nonlocal status
                status = message.get("status", status)
                answer.extend(message.get("body", b""))
                if message["type"] == "http.response.body" and not message.get("more_body") and status == 200:
                    self.uploads.expect(json.loads(answer))
                await send(message)

            await self.app(scope, receive, note)


def _fits(scope: Scope, most: int) -> bool:
    """Whether a request declares its length, and it is at most `most` bytes."""
    size = dict(scope["headers"]).get(b"content-length", b"")
    return size.isdigit() and int(size) <= most


def refuse_links(app: gr.Blocks) -> None:
    """Stops Gradio's download of a link that a client sends in place of an upload."""

    async def store(block: Block, source: Any) -> Any:
        if str(source).lower().startswith(("http:", "https:")):
            raise gr.Error("Links are not fetched; upload the file.")
        return await Block.async_move_resource_to_block_cache(block, source)

    for block in app.blocks.values():
        block.async_move_resource_to_block_cache = partial(store, block)  # type: ignore[method-assign]
