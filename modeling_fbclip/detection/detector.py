"""Batches of images through the pipeline: one row each, and the pictures that were asked for."""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from modeling_fbclip.common.messages import ArgumentError, one_line
from modeling_fbclip.common.progress import progress_bar
from modeling_fbclip.detection.processes import Processes
from modeling_fbclip.detection.result_files import MAP_SUFFIX, OVERLAY_SUFFIX, ResultFolder
from modeling_fbclip.detection.row_files import Done
from modeling_fbclip.detection.rows import Row
from modeling_fbclip.detection.sources import Batch, Item, Source

if TYPE_CHECKING:
    from PIL.Image import Image

    from modeling_fbclip.pipeline_fbclip import ZeroShotAnomalyDetectionPipeline

Thresholds = dict[str, float]  # as the pipeline takes them
Pictures = dict[Item, "Image"]
Errors = dict[Item, str]


class Seen(NamedTuple):
    """How many images there were of each label, "error" among them, and how many of each category."""

    labels: Counter[str]
    categories: Counter[str]


class Detector(NamedTuple):
    """
    Detects, decides and draws.

    Args:
        pipeline: says how anomalous an image is, and by its processor from when on it is called so.
        thresholds: in place of the processor's, those of single categories too.
        results: where pictures go.
        overlays, maps: which pictures are wanted.
    """

    pipeline: "ZeroShotAnomalyDetectionPipeline"
    thresholds: Thresholds
    results: ResultFolder
    overlays: bool
    maps: bool

    def rows(self, batch: Batch) -> Iterator[Row]:
        """One row an image, in order."""
        pictures, errors = _read(batch)
        together = defaultdict(list)  # all at once, unless categories differ in their thresholds
        for item in pictures:
            together[tuple(self.thresholds_of(item.category).items())].append(item)
        found: dict[Item, dict[str, Any]] = {}
        for thresholds, items in together.items():
            found |= self._run({item: pictures[item] for item in items}, errors, dict(thresholds))
        for item in batch:
            if item in errors:
                yield Row(item.path, error=errors[item], category=item.category)
            else:
                yield self._save(item, pictures[item], found[item])

    def thresholds_of(self, category: str | None) -> Thresholds:
        """Those given, then the category's own; what is in neither is of all images."""
        processor = self.pipeline.processor
        own = processor.thresholds_of(category) if category in (processor.category_thresholds or {}) else {}
        return own | self.thresholds

    def _run(self, pictures: Pictures, errors: Errors, thresholds: Thresholds) -> dict[Item, dict[str, Any]]:
        """The pipeline's results; `errors` gets the images that it refuses."""
        import torch

        found = {}
        try:
            results = self.pipeline(list(pictures.values()), batch_size=len(pictures), **thresholds)
            return dict(zip(pictures, results, strict=True))
        except torch.OutOfMemoryError as error:
            raise ArgumentError(
                "batch_size", f"{len(pictures)} images at once need more memory than {self.pipeline.device} has"
            ) from error
        except RuntimeError as error:  # such as a number type that the device cannot compute with
            raise ArgumentError(
                "dtype", f"{self.pipeline.model.dtype} on {self.pipeline.device}: {one_line(error)}"
            ) from error
        except ArgumentError:
            raise
        except ValueError:  # of one of them: singly, the others still get their results
            for item, picture in pictures.items():
                try:
                    found[item] = self.pipeline(picture, **thresholds)
                except ValueError as error:
                    errors[item] = one_line(error)
            return found

    def _save(self, item: Item, image: "Image", found: dict[str, Any]) -> Row:
        from modeling_fbclip.detection.rendering import map_to_png16, render_overlay

        overlay_path = map_path = None
        try:
            if self.overlays:
                overlay = render_overlay(image, found["anomaly_map"], found["mask"])
                overlay_path = str(self.results.save(item.path, OVERLAY_SUFFIX, overlay))
            if self.maps:
                map_path = str(self.results.save(item.path, MAP_SUFFIX, map_to_png16(found["anomaly_map"])))
        except (OSError, ValueError) as error:
            return Row(item.path, error=one_line(error), category=item.category)
        return Row(item.path, found["score"], found["label"], None, overlay_path, map_path, item.category)


def detect_all(
    source: Source,
    detector: Detector,
    processes: Processes,
    done: Done,
    writer: AbstractContextManager[Callable[[Item, Row], None]],
) -> Seen:
    """This process's share, row by row but for those that are done; no more than one batch of images is held."""
    seen = Seen(Counter(), Counter())
    is_main = processes.rank == 0
    total = source.total() if is_main and sys.stderr.isatty() else None
    with progress_bar(total and ceil(total / processes.size), "detect", visible=is_main) as progress, writer as write:
        for batch in source.batches(processes):
            labels = [done.label(item) for item in batch]
            if None in labels:  # the whole batch again: a score may differ in its last bits with the images beside it
                for place, (item, row) in enumerate(zip(batch, detector.rows(batch), strict=True)):
                    if labels[place] is None:
                        write(item, row)
                        labels[place] = row.label or "error"
            seen.labels.update(map(str, labels))
            seen.categories.update(str(item.category) for item in batch)
            progress.update(len(batch))
    return seen


def _read(batch: Batch) -> tuple[Pictures, Errors]:
    """The images, and what is wrong with those that are none."""
    pictures, errors = {}, {}
    for item in batch:
        try:
            pictures[item] = item.read()
        except (OSError, ValueError) as error:
            errors[item] = one_line(error).removeprefix(f"{item.path}: ")
    return pictures, errors
