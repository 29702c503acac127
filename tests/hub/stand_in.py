"""A small stand-in for the Hub on 127.0.0.1. It counts requests, and tests can make it fail."""

import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from .answers import Answer, Answers, RefusalError, Request


@dataclass
class Failure:
    """A failure of the next requests, `times` in number, whose `METHOD /path` fits the pattern."""

    pattern: str
    status: int | None  # None: the connection is dropped
    times: int
    headers: dict[str, str] = field(default_factory=dict)


class StandInHub(Answers):
    """
    Runs in its own thread while the context is open.

    Args:
        folder: where the files lie.
        tokens: token → user, who may write only to repositories under this name.
    """

    def __init__(self, folder: Path, tokens: dict[str, str]) -> None:
        super().__init__(folder, tokens)
        self.failures: list[Failure] = []
        self.requests: Counter[str] = Counter()  # "METHOD /path" without the query
        hub = self

        class Handler(_Handler):
            standin = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fail(self, pattern: str, status: int | None, times: int = 1000, **headers: str) -> None:
        """Makes requests fail from now on; see `Failure`. Underscores in names of headers stand for hyphens."""
        self.failures.append(
            Failure(pattern, status, times, {name.replace("_", "-"): value for name, value in headers.items()})
        )

    def count(self, pattern: str) -> int:
        """How many requests there were whose `METHOD /path` fits."""
        return sum(number for name, number in self.requests.items() if re.search(pattern, name))


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads a request, then fails as a test wants it, or answers."""

    protocol_version = "HTTP/1.1"
    standin: StandInHub

    def do_any(self) -> None:
        body = self._body()
        split = urlsplit(self.path)
        method = "GET" if self.command == "HEAD" else self.command
        name = f"{self.command} {split.path}"
        self.standin.requests[name] += 1
        failure = next((f for f in self.standin.failures if f.times and re.search(f.pattern, name)), None)
        if failure is not None:
            failure.times -= 1
            if failure.status is None:
                self.close_connection = True
                self.connection.shutdown(2)
                return
            self._send(Answer(b"{}", failure.headers, failure.status))
            return
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        request = Request(split.path, parse_qs(split.query, True), body, self.standin.tokens.get(given))
        try:
            if given and request.user is None:
                raise RefusalError(401, "Invalid credentials in Authorization header")
            self._send(self.standin.answer(method, request))
        except RefusalError as refusal:
            content = json.dumps({"error": refusal.message}).encode()
            self._send(Answer(content, refusal.headers, refusal.status))

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = do_any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status, HTTPStatus(answer.status).phrase)
        for header, value in answer.headers.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Logs nothing; the tests count requests."""
