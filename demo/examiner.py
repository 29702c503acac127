"""From a photograph to its score and map. On a Space with ZeroGPU, the model runs on the GPU lent for the call."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image
from torch import Tensor

from modeling_fbclip import FBCLIPReferences
from modeling_fbclip.detection.detector import Detector, Outputs, Size

from .models import Models
from .photos import Photo, decode
from .prompts import own_prompts, read_prompts
from .settings import Side

try:
    from spaces import GPU as ON_LENT_GPU  # type: ignore[import-not-found]
except ImportError:

    def ON_LENT_GPU(function: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802
        return function


MAX_REFERENCES = 4  # sets of them in memory
OWN_PROMPTS = "With reference images, the model's own prompts are used."
OTHER_PROMPTS = "The thresholds were set for the model's own prompts; with others, check them on images that you know."


@dataclass
class Finding:
    """
    The result for one photograph: the probability that it is anomalous, the model's outputs, the size of the
    photograph (height and width in pixels) and the thresholds that belong to the result. Or an error.
    """

    photo: Photo
    side: Side
    score: float = 0.0
    outputs: Outputs = field(default_factory=dict)
    size: Size = (0, 0)
    thresholds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""


class Examiner:
    """Runs the models on photographs."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self._references: OrderedDict[Any, FBCLIPReferences] = OrderedDict()
        # A lent GPU has a process of its own, which gets copies of the arguments: so a name, not the model.
        self._run_model = ON_LENT_GPU(self._run)
        self._make = ON_LENT_GPU(self._make_references)

    def own_settings(self, model: str, has_references: bool = False) -> tuple[str, str, float, float]:
        """The model's own prompts, and its thresholds for images and for pixels in steps of the sliders."""
        detector = self.models.get(model)
        thresholds = detector.processor.general_thresholds(has_references or detector.references is not None)
        return *own_prompts(detector), round(thresholds["threshold"], 3), round(thresholds["pixel_threshold"], 3)

    def references(self, model: str, photos: Sequence[Photo], mutual: bool = False) -> FBCLIPReferences:
        """
        References from good images, or from images that judge one another. The last ones are kept.

        Raises:
            ValueError: an image cannot be read, or they are too few.
        """
        key = model, mutual, tuple(photo.data for photo in photos)
        if key not in self._references:
            pictures = [decode(photo, self.models.get(model).processor) for photo in photos]
            self._references[key] = self._make(model, pictures, mutual)
            while len(self._references) > MAX_REFERENCES:
                self._references.popitem(last=False)
        return self._references[key]

    def forget_references(self) -> None:
        """Removes all references from memory; they are made again when they are needed."""
        self._references.clear()

    def find(self, photo: Photo, side: Side, references: FBCLIPReferences | None = None) -> Finding:
        """The finding for one photograph."""
        try:
            return self._find(photo, side, references)
        except ValueError as error:
            return Finding(photo, side, error=str(error))

    def result(self, finding: Finding, size: Size | None = None) -> dict[str, Any]:
        """
        Score, label, map and mask. Map and mask are of `size` (height, width), by default that of the photograph.

        Raises:
            ValueError: the model is no longer in memory.
        """
        processor = self.models.get(finding.side.model).processor
        return processor.post_process_anomaly_detection(
            finding.outputs, target_sizes=[size or finding.size], **finding.thresholds
        )[0]

    def picture(self, finding: Finding) -> Image.Image:
        """The photograph as the model reads it; ValueError if it cannot be read."""
        return decode(finding.photo, self.models.get(finding.side.model).processor)

    def _detector(self, model: str, references: FBCLIPReferences | None) -> Detector:
        detector = self.models.get(model)
        return detector if references is None else replace(detector, references=references)

    def _find(self, photo: Photo, side: Side, references: FBCLIPReferences | None) -> Finding:
        detector = self._detector(side.model, references)
        ids, notes = read_prompts(detector, side.normal, side.anomalous)
        if ids is not None and detector.references is not None:
            ids, notes = None, [OWN_PROMPTS]
        elif ids is not None:
            notes.append(OTHER_PROMPTS)
        picture = decode(photo, detector.processor)
        (outputs,) = self._run_model(side.model, [detector.prepare(picture)], ids, references)
        score = detector.finish(outputs, (1, 1))["score"]
        size = picture.height, picture.width
        return Finding(photo, side, score, outputs, size, detector.thresholds_of(None), notes)

    def _run(
        self,
        model: str,
        inputs: Sequence[Tensor],
        prompt_input_ids: Tensor | None,
        references: FBCLIPReferences | None,
    ) -> list[Outputs]:
        return self._detector(model, references).run(inputs, prompt_input_ids)

    def _make_references(self, model: str, pictures: list[Image.Image], mutual: bool) -> FBCLIPReferences:
        detector = self.models.get(model)
        return FBCLIPReferences.from_images(detector.model, detector.processor, pictures, mutual=mutual)
