"""Findings as HTML. It contains the pictures themselves, so that the server stores no file of them."""

import csv
from base64 import b64encode
from html import escape
from io import BytesIO, StringIO
from typing import NamedTuple

from modeling_fbclip.detection.rendering import COLOUR_ANCHORS, opacity, render_overlay

from .examiner import Finding

JPEG_QUALITY = 90
CSV_HEADER = ("image", "score", "label", "error")


class View(NamedTuple):
    """
    How findings are shown. All numbers are in `[0, 1]`: the opacity of the heatmap, the score from which an image is
    anomalous, the probability from which a pixel lies inside the contour.
    """

    fade: float
    threshold: float
    pixel_threshold: float


def colour_scale() -> str:
    """The colour scale from 0 to 1, the same for all images."""
    stops = ", ".join(
        f"rgb({red} {green} {blue} / {opacity(position):.2f}) {100 * position:.0f}%"
        for position, (red, green, blue) in COLOUR_ANCHORS
    )
    return (
        '<div class="scale" role="img" aria-label="Colour scale: 0 is clear, then blue to red, which is 1">'
        f'<span>0</span><span class="bar" style="background: linear-gradient(to right, {stops})"></span>'
        "<span>1</span><span>probability that a pixel is anomalous</span></div>"
    )


def show_one(findings: list[Finding], view: View) -> str:
    """The decision on one photograph and its overlay, or an error message."""
    if not findings:
        return '<p class="hint">The score, the decision and the heatmap appear here.</p>'
    (finding,) = findings
    if finding.error:
        return message(finding.error)
    label = _label(finding, view)
    return (
        f'<div class="verdict {label}" role="status"><strong class="label">{label}</strong>'
        f'<span>score <b class="score">{finding.score:.3f}</b></span>'
        f"<span>anomalous from {view.threshold:.3f} on</span></div>{_picture(finding, view)}"
    )


def show_many(findings: list[Finding], view: View) -> str:
    """A gallery of overlays, a table, and a link that downloads the table."""
    if not findings:
        return '<p class="hint">A gallery of heatmaps and a table to download appear here.</p>'
    rows = [_row(finding, view) for finding in findings]
    figures = [
        f'<figure class="{label}">{_picture(finding, view)}<figcaption>{escape(name)}<br>'
        f"<b>{label}</b> {score}</figcaption></figure>"
        for finding, (name, score, label, error) in zip(findings, rows, strict=True)
        if not error
    ]
    table = StringIO()
    csv.writer(table).writerows([CSV_HEADER, *rows])
    link = _data_url("text/csv", table.getvalue().encode("utf-8", "replace"))
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    header = "".join(f'<th scope="col">{name}</th>' for name in CSV_HEADER)
    return (
        f'<div class="gallery">{"".join(figures)}</div>'
        f'<div class="rows"><table><thead><tr>{header}</tr></thead><tbody><tr>'
        f"{'</tr><tr>'.join(cells)}</tr></tbody></table></div>"
        f'<a download="fbclip.csv" href="{link}">Download the table (CSV)</a>'
    )


def message(text: str) -> str:
    """An error message in place of a result."""
    return f'<p class="message" role="alert">{escape(text)}</p>'


def _label(finding: Finding, view: View) -> str:
    return "anomalous" if finding.score >= view.threshold else "normal"


def _row(finding: Finding, view: View) -> tuple[str, str, str, str]:
    if finding.error:
        return finding.photo.name, "", "", finding.error
    return finding.photo.name, f"{finding.score:.4f}", _label(finding, view), ""


def _picture(finding: Finding, view: View) -> str:
    if finding.picture is None or finding.anomaly_map is None:
        return ""
    mask = finding.anomaly_map >= view.pixel_threshold
    overlay = render_overlay(finding.picture, finding.anomaly_map, mask, alpha=view.fade)
    jpeg = BytesIO()
    overlay.save(jpeg, "JPEG", quality=JPEG_QUALITY)
    alt = f"Heatmap of {finding.photo.name}: {mask.mean():.1%} of it lies inside the contour"
    return (
        f'<img width="{overlay.width}" height="{overlay.height}" alt="{escape(alt)}" '
        f'src="{_data_url("image/jpeg", jpeg.getvalue())}">'
    )


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"
