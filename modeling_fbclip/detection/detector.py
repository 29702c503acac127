"""A model with its processor: pictures in; scores, decisions and maps out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.common.messages import ArgumentError, one_line
from modeling_fbclip.detection.threads import map_in_threads
from modeling_fbclip.results_fbclip import OUTPUTS, one_output
from modeling_fbclip.views_fbclip import View, batches_of_views

Outputs = dict[str, Tensor]  # of one view, as the processor's `post_process_views` takes them
Size = tuple[int, int]  # height and width in pixels
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
        prepared: Sequence[Prepared],
        prompt_input_ids: Tensor | None = None,
        batch_size: int | None = None,
        on_view: Callable[[int, int], object] | None = None,
    ) -> list[list[Outputs]]:
        """
        The model's outputs for all views of pictures. Views of one size share batches, whosever they are.

        Args:
            prepared: the pictures.
            prompt_input_ids: in place of the model's own.
            batch_size: views of a batch, by default as many as there are pictures.
            on_view: called after each batch with the number of views that are done, and that of all.

        Raises:
            ArgumentError: as `run_batch`.
        """
        plans = [one.views for one in prepared]
        batches = list(batches_of_views(plans, batch_size or len(prepared)))
        found: list[list[Outputs]] = [[{}] * len(plan) for plan in plans]

        def prepare(place: tuple[int, int]) -> Tensor:
            one, index = prepared[place[0]], place[1]
            return one.whole if index == 0 else self.processor.prepare_view(one.picture, one.views[index])

        inputs = map_in_threads(prepare, chain.from_iterable(batches), limit=2 * len(batches[0]) if batches else 0)
        done, total = 0, sum(map(len, batches))
        for batch in batches:
            outputs = self.run_batch(list(islice(inputs, len(batch))), prompt_input_ids, [view for _, view in batch])
            for (image, view), output in zip(batch, outputs, strict=True):
                found[image][view] = output
            done += len(batch)
            if on_view is not None:
                on_view(done, total)
        return found

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
