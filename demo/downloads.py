"""Results to download, made from memory when they are asked for: `fbclip/TOKEN/IMAGE/SIDE/FILE`."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import parse_qs, quote

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from modeling_fbclip.detection.rendering import map_to_png16, render_overlay
from modeling_fbclip.detection.results import PNG_SETTINGS

from .examiner import Examiner, Finding
from .reports import REPORT, make_report
from .sessions import Sessions

ADDRESS = re.compile(r"/fbclip/(?P<token>[\w-]{10,60})/(?P<image>\d{1,3})/(?P<side>[01])/(?P<file>[\w.]{1,40})$")
Query = dict[str, float]


@dataclass
class Downloads:
    """ASGI middleware that answers these addresses, and passes all others on."""

    app: ASGIApp
    sessions: Sessions
    examiner: Examiner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = ADDRESS.search(scope.get("path", "")) if scope["type"] == "http" else None
        if match is None:
            await self.app(scope, receive, send)
            return
        response = await run_in_threadpool(self._answer, match, scope.get("query_string", b"").decode("latin-1"))
        await response(scope, receive, send)

    def _answer(self, match: re.Match[str], query: str) -> Response:
        work, file = self.sessions.find(match["token"]), match["file"]
        try:
            finding = work.findings[int(match["image"])][int(match["side"])] if work else None
        except IndexError:
            finding = None
        if work is None or finding is None or (finding.error and file != REPORT):
            return PlainTextResponse("It is not kept here any more; examine the image again.", 404)
        try:
            if file == REPORT:
                content, kind = make_report(self.examiner, work), "text/html; charset=utf-8"
            elif file in FILES:
                make, kind = FILES[file]
                content = make(finding, _numbers(query))
            else:
                return PlainTextResponse(f"There are {', '.join([*FILES, REPORT])}.", 404)
        except ValueError as error:
            return PlainTextResponse(str(error), 400)
        name = file if file == REPORT else f"{finding.photo.name}.{file}"
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
        return Response(content, 200, headers | {"Cache-Control": "no-store"}, kind)


def _overlay(finding: Finding, query: Query) -> bytes:
    """The photograph with the heatmap as the page shows it, at the photograph's own size."""
    result = finding.result(query.get("pixel_threshold"))
    values = result["anomaly_map"].where(result["mask"], 0)  # what is good stays as it is
    picture = render_overlay(finding.picture(), values, result["mask"], alpha=query.get("fade", 0.6))
    return _png(picture)


def _map(finding: Finding, _: Query) -> bytes:
    return _png(map_to_png16(finding.result()["anomaly_map"]))


def _regions(finding: Finding, query: Query) -> bytes:
    """Name, size, score and label of the image, and its regions as `fbclip detect` writes them."""
    result = finding.result(query.get("pixel_threshold"))
    height, width = finding.size
    record = {"path": finding.photo.name, "width": width, "height": height}
    record |= {name: result[name] for name in ("score", "label", "regions")}
    return json.dumps(record, indent=2).encode()


FILES: dict[str, tuple[Callable[[Finding, Query], bytes], str]] = {
    "overlay.png": (_overlay, "image/png"),
    "map.png": (_map, "image/png"),
    "regions.json": (_regions, "application/json"),
}


def _png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, **PNG_SETTINGS)
    return file.getvalue()


def _numbers(query: str) -> Query:
    """The numbers of a query, each from 0 to 1."""
    found = {}
    for name, values in parse_qs(query[:200]).items():
        try:
            found[name] = float(values[-1])
        except ValueError:
            found[name] = -1.0
        if not 0 <= found[name] <= 1:
            raise ValueError(f"{name[:20]!r} must be a number from 0 to 1.")
    return found
