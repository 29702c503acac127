"""What reaches Gradio's server: requests of limited size, uploads while there is room, no links."""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gradio as gr
from gradio.blocks import Block, BlockFunction
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .photos import MAX_BYTES, MAX_TOTAL_BYTES
from .sweeper import Sweeper
from .uploads import Uploads

REQUEST_BYTES = MAX_TOTAL_BYTES + 100_000  # of an upload, with the headers of its parts
OTHER_BYTES = 1_000_000  # of a request without an upload
# Gradio's routes that save a session to the disk, save an upload in another place, and run methods of components.
NOT_OFFERED = ("/deep_link", "/process_recording", "/component_server")
RESULT = "map-"  # begins the names of files that clients may fetch
# In place of an upload, which Gradio's page asks for to show it, and which may be deleted meanwhile. One pixel.
NO_PICTURE = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR4nGNgYAAAAAMAAbitOmMAAAAASUVORK5CYII=")
TOO_LARGE = f"Send at most {MAX_TOTAL_BYTES / 1e6:.0f} MB at once, {MAX_BYTES / 1e6:.0f} MB a file."
FILE = "what `handle_file('photo.jpg')` of gradio_client sends"
NO_ROOM = "Too many uploads wait here; try again in a minute."


@dataclass
class Guard:
    """ASGI middleware that limits the size of requests before they are read, and tells `Uploads` the paths."""

    app: ASGIApp
    uploads: Uploads
    sweeper: Sweeper
    _reserved: list[int] = field(default_factory=list)  # bytes of the uploads that arrive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, posts = scope.get("path", ""), scope.get("method") == "POST"
        is_upload = path.endswith("/upload")
        size = _declared_size(scope)
        if path.endswith(NOT_OFFERED):
            await PlainTextResponse("Not offered here.", 404)(scope, receive, send)
        elif path.partition("/file=")[2].startswith(f"{self.sweeper.folder}/") and f"/{RESULT}" not in path:
            await Response(NO_PICTURE, media_type="image/png")(scope, receive, send)
        elif posts and (size is None or size > (REQUEST_BYTES if is_upload else OTHER_BYTES)):
            await PlainTextResponse(TOO_LARGE, 413)(scope, receive, send)
        elif posts and is_upload:
            await self._upload(size or 0, scope, receive, send)
        else:
            await self.app(scope, self._listen(receive) if posts else receive, send)

    async def _upload(self, size: int, scope: Scope, receive: Receive, send: Send) -> None:
        answer = bytearray()
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body") and status == 200:
                self.uploads.expect(json.loads(answer))
            await send(message)

        if not self.sweeper.has_room(sum(self._reserved) + size):
            await PlainTextResponse(NO_ROOM, 503, {"Retry-After": "60"})(scope, receive, send)
            return
        with self._reserve(size), self.uploads.arriving(), suppress(ClientDisconnect):  # the sweeper has the rest
            await self.app(scope, receive, note)

    @contextmanager
    def _reserve(self, size: int) -> Iterator[None]:
        self._reserved.append(size)
        try:
            yield
        finally:
            self._reserved.remove(size)

    def _listen(self, receive: Receive) -> Receive:
        """Passes a request on, and tells `Uploads` which of them it is about."""
        body = bytearray()

        async def listen() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    with suppress(ValueError, RecursionError):  # no JSON, which Gradio refuses
                        self.uploads.ask_for(json.loads(body))
            return message

        return listen


def _declared_size(scope: Scope) -> int | None:
    """The length that a request declares, in bytes."""
    size = dict(scope["headers"]).get(b"content-length", b"")
    return int(size) if size.isdigit() and len(size) < 16 else None


def refuse_links(app: gr.Blocks) -> None:
    """Stops Gradio's download of a link that a client sends in place of an upload."""

    async def store(block: Block, source: Any) -> Any:
        if str(source).lower().startswith(("http:", "https:")):
            raise gr.Error("Links are not fetched; upload the file.", print_exception=False)
        return await Block.async_move_resource_to_block_cache(block, source)

    for block in app.blocks.values():
        block.async_move_resource_to_block_cache = partial(store, block)  # type: ignore[method-assign]


def tell_wrong_values(app: gr.Blocks) -> None:
    """Answers a request with values of a wrong number or type by a message, where Gradio would give none."""
    preprocess = app.preprocess_data

    async def checked(block_fn: BlockFunction, *arguments: Any, **options: Any) -> Any:
        try:
            return await preprocess(block_fn, *arguments, **options)
        except gr.Error:  # a ValueError too, which says more
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # those of pydantic are ValueErrors
            labels = [str(getattr(block, "label", None) or "") for block in block_fn.inputs]
            wanted = f"{len(labels)} value{'s' * (len(labels) != 1)} ({', '.join(labels)})"
            raise gr.Error(
                f"Send {wanted} of the documented types; a file is {FILE}.", print_exception=False
            ) from error

    app.preprocess_data = checked  # type: ignore[method-assign]
