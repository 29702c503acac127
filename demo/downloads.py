"""Results to download, made from memory when they are asked for: `fbclip/TOKEN/IMAGE/SIDE/FILE`."""

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
        work, make = self.sessions.find(match["token"]), FILES.get(match["file"])
        try:
            finding = work.findings[int(match["image"])][int(match["side"])] if work else None
        except IndexError:
            finding = None
        if make is None or finding is None or finding.error:
            return PlainTextResponse("It is not kept here any more; examine the image again.", 404)
        try:
            content = make(self.examiner, finding, _numbers(query))
        except ValueError as error:
            return PlainTextResponse(str(error), 400)
        name = f"{finding.photo.name}.{match['file']}"
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
        return Response(content, 200, headers | {"Cache-Control": "no-store"}, "image/png")


def _overlay(examiner: Examiner, finding: Finding, query: Query) -> bytes:
    """The photograph with the heatmap as the page shows it, at the photograph's own size."""
    result, picture = examiner.result(finding), examiner.picture(finding)
    mask = result["anomaly_map"] >= query.get("pixel_threshold", finding.thresholds["pixel_threshold"])
    overlay = render_overlay(picture, result["anomaly_map"], mask, alpha=query.get("fade", 0.5))
    return _png(Image.composite(overlay, picture, Image.fromarray(mask.numpy())))


def _map(examiner: Examiner, finding: Finding, _: Query) -> bytes:
    return _png(map_to_png16(examiner.result(finding)["anomaly_map"]))


FILES: dict[str, Callable[[Examiner, Finding, Query], bytes]] = {"overlay.png": _overlay, "map.png": _map}


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
