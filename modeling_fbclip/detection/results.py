"""What becomes of an image: its row, and the pictures in the output folder."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.messages import one_line
from modeling_fbclip.common.own_results import MAP_SUFFIX, OVERLAY_SUFFIX, REGION_SUFFIX
from modeling_fbclip.detection.captions import with_caption
from modeling_fbclip.detection.crops import crop_around
from modeling_fbclip.detection.detector import Detector, Outputs
from modeling_fbclip.detection.image_finder import absolute
from modeling_fbclip.detection.rendering import map_to_png16, render_overlay
from modeling_fbclip.detection.report_entries import Entries
from modeling_fbclip.detection.rows import Row
from modeling_fbclip.detection.sources import Item
from modeling_fbclip.digests_fbclip import preprocessing_of, weights_digest

# Run lengths alone: several times faster than zlib's default, at about the same size for such smooth pictures.
PNG_SETTINGS: dict[str, Any] = {"format": "PNG", "compress_type": zlib.Z_RLE}


class Found(NamedTuple):
    """
    An image that went through the model: its picture, the outputs of its views, and the mode that it was seen in; or
    the error instead.
    """

    item: Item
    picture: Image.Image | None
    outputs: list[Outputs] | None
    error: str | None
    mode: str | None


class Results(NamedTuple):
    """
    Makes rows and pictures. `INPUTS/parts/a.jpg` gives `OUTPUT/parts/a.jpg.overlay.png`, so names never collide.

    Args:
        detector: decides.
        inputs: absolute path of a folder that holds every image.
        output: where the pictures go.
        overlays, maps: which of them are written.
        captions: whether the overlays have a line with score and decision.
        crops: where the parts around the regions go, named as the other pictures are; `None` for nowhere.
        entries: takes what a report shows of each image; `None` if there is no report.
    """

    detector: Detector
    inputs: Path
    output: Path
    overlays: bool
    maps: bool
    captions: bool = False
    crops: Path | None = None
    entries: Entries | None = None

    def settings(self) -> dict[str, Any]:
        """All that rows depend on, but for the images: rows of one file must agree in it."""
        network, processor = self.detector.model, self.detector.processor
        names = (
            *("image_size", "smoothing_sigma", "score", "thresholds_mode", "other_thresholds"),
            *("threshold", "pixel_threshold", "category_thresholds", "min_area"),
        )
        return {
            "weights": weights_digest(network),
            "references": None if self.detector.references is None else self.detector.references.digest(),
            "dtype": str(network.dtype),
            **preprocessing_of(processor),
            **{name: getattr(processor, name) for name in names},
            **self.detector.thresholds,
            "overlays": self.overlays,
            "maps": self.maps,
            "captions": self.captions,
            "crops": self.crops is not None,
        }

    def row(self, found: Found) -> Row:
        """One image's row, once its pictures are written. It has the score even if they cannot be."""
        row, result = self._examined(found)
        if self.entries is not None:  # before the row: an image that has a row is in the report
            self.entries.add(found.item, row, found.picture, result)
        return row

    def _examined(self, found: Found) -> tuple[Row, dict[str, Any] | None]:
        item, picture, outputs, error, _ = found
        if picture is None or outputs is None:
            return Row(item.path, error=error, category=item.category), None
        try:
            result = self.detector.finish(outputs, (picture.height, picture.width), item.category)
        except ValueError as problem:
            return Row(item.path, error=one_line(problem), category=item.category), None
        return self._saved(item, picture, result), result

    def _saved(self, item: Item, picture: Image.Image, result: dict[str, Any]) -> Row:
        saved: dict[str, str] = {}
        error = None
        for folder, suffix, made in self._pictures(item, picture, result):
            try:
                saved[suffix] = self._save(item, folder, suffix, made)
            except (OSError, ValueError) as problem:  # the disk is full, or the name too long with its suffix
                reason = getattr(problem, "strerror", None) or one_line(problem)
                error = f"{suffix[1:]} cannot be saved in {folder}: {reason}"
        files = saved.get(OVERLAY_SUFFIX), saved.get(MAP_SUFFIX)
        return Row(item.path, result["score"], result["label"], error, *files, item.category, result["regions"])

    def _pictures(
        self, item: Item, picture: Image.Image, result: dict[str, Any]
    ) -> Iterator[tuple[Path, str, Image.Image]]:
        """The pictures to write, each with its folder and the suffix of its name."""
        if self.overlays:
            overlay = render_overlay(picture, result["anomaly_map"], result["mask"])
            verdict = f"{result['score']:.3f} {result['label']}"
            yield self.output, OVERLAY_SUFFIX, with_caption(overlay, verdict, item.path) if self.captions else overlay
        if self.maps:
            yield self.output, MAP_SUFFIX, map_to_png16(result["anomaly_map"])
        if self.crops is not None:
            for rank, region in enumerate(result["regions"], 1):
                yield self.crops, REGION_SUFFIX.format(rank), crop_around(picture, region["box"])

    def _save(self, item: Item, folder: Path, suffix: str, picture: Image.Image) -> str:
        relative = absolute(Path(item.path)).relative_to(self.inputs)
        target = folder / relative.with_name(relative.name + suffix)
        # An image that is named twice may be at work twice at the same time.
        with written_aside(target, writer=f"-{item.position}") as aside:
            picture.save(aside, **PNG_SETTINGS)
        return str(target)
