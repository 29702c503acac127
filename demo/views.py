"""
Findings as HTML. It contains the pictures themselves, so that the server stores no file of them. `page.js` lays the
map over the photograph, decides by the sliders, and draws again when they move.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modeling_fbclip.detection.rendering import COLOUR_TABLE, opacity
from modeling_fbclip.detection.thumbnails import pooled

from .examiner import Finding
from .sessions import Tab, Work

LONGEST_SIDE = {Tab.ONE: 1024, Tab.MANY: 480}  # of a picture on the page, in pixels
JPEG_QUALITY = 90
SAMPLE_SIDE = 160  # pixels
HINTS = {
    Tab.ONE: "The score, the decision and the heatmap appear here.",
    Tab.MANY: "The results appear here, the most anomalous image first, and a table to download.",
}
DOWNLOADS = {"overlay.png": "Overlay", "map.png": "Map, 16 bits", "regions.json": "Regions", "report.html": "Report"}


def colour_scale() -> str:
    """
    The colour scale from 0 to 1, the same for all images. `page.js` takes it from here: 256 times red, green, blue and
    how much of the photograph is hidden, from 0 to 255.
    """
    weights = np.rint(255 * opacity(np.linspace(0, 1, 256))).astype(int)
    table = [[*map(int, colour), int(weight)] for colour, weight in zip(COLOUR_TABLE, weights, strict=True)]
    stops = ", ".join("rgb({} {} {})".format(*table[level]) for level in range(0, 256, 51))
    return (
        f'<div class="scale" role="img" aria-label="Colour scale: blue is 0, red is 1" '
        f'data-colours="{json.dumps(table, separators=(",", ":"))}"><span>0</span>'
        f'<span class="bar" style="background: linear-gradient(to right, {stops})"></span>'
        "<span>1</span><span>probability that a pixel is anomalous</span></div>"
    )


def samples(paths: Sequence[Path]) -> str:
    """A button for each sample photograph, with its index."""
    buttons = []
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            image.thumbnail((SAMPLE_SIDE, SAMPLE_SIDE))
            picture = _data_url(image, "JPEG", quality=JPEG_QUALITY)
        title = escape(path.stem.replace("_", " "))
        buttons.append(
            f'<button type="button" data-index="{index}"><img src="{picture}" alt=""><span>{title}</span></button>'
        )
    return f'<div class="samples" role="group" aria-label="Sample photographs">{"".join(buttons)}</div>'


def hint(tab: Tab) -> str:
    """What stands in place of a result before there is one."""
    return f'<p class="hint">{HINTS[tab]}</p>'


def message(text: str) -> str:
    """An error message in place of a result, or beside a field; nothing for an empty text."""
    return f'<p class="message" role="alert">{escape(text)}</p>' if text else ""


def status(text: str) -> str:
    """What goes on, beside a field or in place of a result."""
    return f'<p class="hint" role="status">{escape(text)}</p>'


def waiting(names: Sequence[str]) -> str:
    """What stands in place of results while they are computed."""
    what = names[0] if len(names) == 1 else f"{len(names)} images"
    return status(f"Examining {what} …")


def figure(finding: Finding, tab: Tab, address: str) -> str:
    """One finding: its decision, its photograph with the map, and links to download both, or an error message."""
    if finding.error:
        return message(finding.error)
    height, width = finding.size
    scale = min(1, LONGEST_SIDE[tab] / max(height, width))
    small = max(1, round(height * scale)), max(1, round(width * scale))
    picture = finding.picture().resize(small[::-1], Image.Resampling.LANCZOS)
    largest = pooled(finding.result()["anomaly_map"].numpy(), small)  # so that small defects stay
    values = Image.fromarray(np.rint(largest * 255).astype(np.uint8))
    name = escape(finding.photo.name)
    own = "".join(f' data-{key.replace("_", "-")}="{value:.4f}"' for key, value in finding.thresholds.items())
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in finding.notes)
    links = "".join(f'<a download href="{address}/{file}">{title}</a>' for file, title in DOWNLOADS.items())
    return (
        f'<anomaly-result data-score="{finding.score:.6f}" data-name="{name}" data-width="{width}" '
        f'data-height="{height}"{own}>'
        f'<div class="verdict" role="status"><strong class="label"></strong>'
        f'<span>score <b class="score">{finding.score:.3f}</b></span><span class="limit"></span></div>'
        f'<p class="file"><span class="name">{name}</span>, {width} by {height} pixels</p>{notes}'
        f'<div class="frame"><div class="stage"><img class="photo" width="{small[1]}" height="{small[0]}" '
        f'alt="{name}" src="{_data_url(picture, "JPEG", quality=JPEG_QUALITY)}">'
        f'<img class="values" alt="" hidden src="{_data_url(values, "PNG")}"></div></div>'
        f'<div class="downloads">{links}</div></anomaly-result>'
    )


def show(work: Work | None, tab: Tab, figures: Sequence[Sequence[str]]) -> str:
    """The results of a tab so far. `figures` are those of [`figure`], for each photograph one a side."""
    if work is None or not work.photos:
        return hint(tab)
    left = [photo.name for photo in work.photos[len(figures) :]]
    if tab is Tab.ONE:
        return waiting(left) if left else f'<div class="sides">{"".join(figures[0])}</div>'
    found = sorted(zip(work.findings, figures, strict=False), key=lambda pair: (pair[0][0].error, -pair[0][0].score))
    report = f"fbclip/{work.token}/0/0/report.html"
    gallery = "".join(html for findings, (html, *_) in found if not findings[0].error)
    return f'{waiting(left) if left else ""}<div class="gallery">{gallery}</div>{_table(work.findings, report)}'


def _table(rows: Sequence[Sequence[Finding]], report: str) -> str:
    """A table of all images in the order that they were sent. `page.js` fills in the decisions and makes the file."""
    header = "".join(f'<th scope="col">{name}</th>' for name in ("image", "score", "label", "error"))
    body = "".join(
        f'<tr data-score="{"" if finding.error else f"{finding.score:.6f}"}"><td>{escape(finding.photo.name)}</td>'
        f"<td>{'' if finding.error else f'{finding.score:.4f}'}</td><td></td><td>{escape(finding.error)}</td></tr>"
        for finding, *_ in rows
    )
    return (
        '<div class="rows" role="region" aria-label="Table of results" tabindex="0"><table>'
        f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
        '<div class="downloads"><a class="csv" download="fbclip.csv" href="#">Table (CSV)</a>'
        f'<a download href="{report}">Report (HTML)</a></div>'
    )


def _data_url(picture: Image.Image, form: str, **settings: Any) -> str:
    file = BytesIO()
    picture.save(file, form, **settings)
    return f"data:image/{form.lower()};base64,{b64encode(file.getvalue()).decode()}"
