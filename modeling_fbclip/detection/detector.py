"""A model with its processor: pictures in; scores, decisions and maps out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.common.messages import ArgumentError, one_line
from modeling_fbclip.detection.threads import map_in_threads
from modeling_fbclip.results_fbclip import OUTPUTS, one_output
from modeling_fbclip.thresholds_fbclip import tell_other_category
from modeling_fbclip.view_batches_fbclip import Outputs, ViewBatches
from modeling_fbclip.views_fbclip import Size, View

Prompts = tuple[str, str]  # what a faultless and what a faulty image shows


@dataclass
class Prepared:
    """A picture, what the model sees of it, and the model's input for the first of these views: the whole picture."""

    picture: Image.Image
    views: list[View]
    whole: Tensor

    @property
    def size(self) -> Size:
        """Height and width of the picture."""
        return self.picture.height, self.picture.width


@dataclass
class Detector:
    """
    Detects in three steps: `prepare`, `run`, `finish`. The first and the last may run in background threads.

    Args:
        model: on the device to use, in evaluation mode.
        processor: the model's.
        thresholds: `threshold` and `pixel_threshold` in place of the processor's, those of categories included.
        references: what images are compared with, beside the texts.
    """

    model: FBCLIPModel
    processor: FBCLIPProcessor
    thresholds: dict[str, float] = field(default_factory=dict)
    references: FBCLIPReferences | None = None

    def __post_init__(self) -> None:
        self.processor.patch_size = self.model.config.patch_size  # older files of processors do not have it

    def prepare(self, picture: Image.Image) -> Prepared:
        """
        What the model sees of a picture.

        Raises:
            ValueError: if the processor refuses the picture, or the references have another shape.
        """
        views = self.processor.views((picture.height, picture.width))
        if self.references is not None:
            self.references.check_views(views, self.model.config.patch_size)
        return Prepared(picture, views, self.processor.prepare_view(picture, views[0]))

    def run(
        self,
        images: Iterable[Prepared],
        prompt_input_ids: Tensor | None = None,
        batch_size: int = 1,
        on_view: Callable[[int, int], object] | None = None,
    ) -> Iterator[list[Outputs]]:
        """
        The model's outputs for all views of each image, in order. Views of one size share batches, whosever they are.

        Args:
            images: taken as they are needed.
            prompt_input_ids: in place of the model's own.
            batch_size: the most views that go through the model at once.
            on_view: called after each batch with the number of views that are done, and that of all so far.

        Raises:
            ArgumentError: as `run_batch`.
        """

        def input_of(view: tuple[Prepared, int]) -> Tensor:
            image, place = view
            return image.whole if place == 0 else self.processor.prepare_view(image.picture, image.views[place])

        def run(batch: list[tuple[Prepared, int]]) -> list[Outputs]:
            inputs = list(map_in_threads(input_of, batch, limit=len(batch)))
            return self.run_batch(inputs, prompt_input_ids, [place for _, place in batch])

        return ViewBatches(run, batch_size, on_view)((image, image.views) for image in images)

    @torch.inference_mode()
    def run_batch(
        self, inputs: Sequence[Tensor], prompt_input_ids: Tensor | None = None, places: Sequence[int] = ()
    ) -> list[Outputs]:
        """
        The model's outputs for inputs of one size, each by itself and on the CPU.

        Args:
            inputs: of shape `(channels, height, width)`.
            prompt_input_ids: in place of the model's own.
            places: the place of each in its picture's views; by default all are whole pictures.

        Raises:
            ArgumentError: the inputs are too many for the device's memory (`batch_size`), or it cannot compute with
                the weights' number type (`dtype`).
        """
        model, device = self.model, self.model.device
        try:
            pixel_values = torch.stack(list(inputs)).to(device, model.dtype)
            ids = None if prompt_input_ids is None else prompt_input_ids.to(device)
            references = None if self.references is None else self.references.at(places or [0] * len(inputs))
            outputs = model(pixel_values=pixel_values, prompt_input_ids=ids, references=references)
            found = {name: outputs[name].float().cpu() for name in OUTPUTS if outputs.get(name) is not None}
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise ArgumentError(
                    "batch_size", f"{len(inputs)} images at once need more memory than {device} has; try fewer"
                ) from error
            raise ArgumentError("dtype", f"{model.dtype} on {device}: {one_line(error)}") from error
        return [one_output(found, index) for index in range(len(inputs))]

    def finish(self, outputs: Sequence[Outputs], size: Size, category: str | None = None) -> dict[str, Any]:
        """
        Score, decision, map, mask and regions of one image, as `post_process_views` gives them.

        Args:
            outputs: of all views of the image.
            size: height and width of the image.
            category: the image's, whose thresholds decide where the processor has some.

        Raises:
            ValueError: if an output is not finite.
        """
        thresholds: dict[str, Any] = self.thresholds_of(category, self.processor.mode_of(outputs, size))
        return self.processor.post_process_views(outputs, size, **thresholds)

    def thresholds_of(self, category: str | None, mode: str | None = None) -> dict[str, float]:
        """Those given, then the category's own, then the processor's for a mode, by default that of its own."""
        if len(self.thresholds) == 2:  # both are given
            return dict(self.thresholds)
        known = self.known_categories(mode)
        if category is not None and category not in known and category in (self.processor.category_thresholds or {}):
            tell_other_category(category, str(mode))
        if category is not None and category in known:
            return self.processor.thresholds_of(category) | self.thresholds
        return self.processor.general_thresholds(self.references is not None, mode) | self.thresholds

    def known_categories(self, mode: str | None = None) -> set[str]:
        """Those that have thresholds of their own, set with references or without, and in the mode, as it is used."""
        is_set = (self.references is not None) == self.processor.thresholds_with_references
        return set(self.processor.category_thresholds or {}) if is_set and self.processor.is_mode(mode) else set()

    def __call__(self, picture: Image.Image) -> dict[str, Any]:
        """
        The three steps for one picture, map and mask of its own size.

        Raises:
            ValueError: if the processor refuses the picture.
        """
        prepared = self.prepare(picture)
        (outputs,) = self.run([prepared])
        return self.finish(outputs, prepared.size)
