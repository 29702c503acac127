"""A model with its processor: pictures in; scores, decisions and maps out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.common.messages import ArgumentError, one_line

OUTPUTS = ("image_scores", "anomaly_maps", "reference_scores", "reference_maps")
Outputs = dict[str, Tensor]  # of one image, as the processor's `post_process_anomaly_detection` takes them
Size = tuple[int, int]  # height and width in pixels
Prompts = tuple[str, str]  # what a faultless and what a faulty image shows


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

    def prepare(self, picture: Image.Image) -> Tensor:
        """
        The model's input for one picture, of shape `(channels, height, width)`.

        Raises:
            ValueError: if the processor refuses the picture.
        """
        return self.processor(images=[picture])["pixel_values"][0]

    @torch.inference_mode()
    def run(self, inputs: Sequence[Tensor], prompt_input_ids: Tensor | None = None) -> list[Outputs]:
        """
        The model's outputs for prepared pictures, each by itself and on the CPU.

        Raises:
            ArgumentError: the pictures are too many for the device's memory (`batch_size`), or it cannot compute with
                the weights' number type (`dtype`).
        """
        model, device = self.model, self.model.device
        try:
            pixel_values = torch.stack(list(inputs)).to(device, model.dtype)
            ids = None if prompt_input_ids is None else prompt_input_ids.to(device)
            outputs = model(pixel_values=pixel_values, prompt_input_ids=ids, references=self.references)
            found = {name: outputs[name].float().cpu() for name in OUTPUTS if outputs.get(name) is not None}
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise ArgumentError(
                    "batch_size", f"{len(inputs)} images at once need more memory than {device} has; try fewer"
                ) from error
            raise ArgumentError("dtype", f"{model.dtype} on {device}: {one_line(error)}") from error
        return [{name: values[index : index + 1] for name, values in found.items()} for index in range(len(inputs))]

    def finish(self, outputs: Outputs, size: Size, category: str | None = None) -> dict[str, Any]:
        """
        Score, decision, map, mask and regions of one image, as `post_process_anomaly_detection` gives them.

        Args:
            outputs: of `run`.
            size: height and width of map and mask.
            category: the image's, whose thresholds decide where the processor has some.

        Raises:
            ValueError: if an output is not finite.
        """
        thresholds: dict[str, Any] = self.thresholds_of(category)
        return self.processor.post_process_anomaly_detection(outputs, target_sizes=[size], **thresholds)[0]

    def thresholds_of(self, category: str | None) -> dict[str, float]:
        """Those given, then the category's own, then the processor's."""
        general = self.processor.general_thresholds(self.references is not None)
        known = self.known_categories()
        own = self.processor.thresholds_of(category) if category is not None and category in known else {}
        return general | own | self.thresholds

    def known_categories(self) -> set[str]:
        """Those that have thresholds of their own, which were set with references or without, as it is used."""
        is_set = (self.references is not None) == self.processor.thresholds_with_references
        return set(self.processor.category_thresholds or {}) if is_set else set()

    def __call__(self, picture: Image.Image) -> dict[str, Any]:
        """
        The three steps for one picture, map and mask of its own size.

        Raises:
            ValueError: if the processor refuses the picture.
        """
        (outputs,) = self.run([self.prepare(picture)])
        return self.finish(outputs, (picture.height, picture.width))
