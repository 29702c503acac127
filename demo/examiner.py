"""From a photograph to its score and map. On a Space with ZeroGPU, the model runs on the GPU lent for the call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import ref

from PIL import Image
from torch import Tensor

from modeling_fbclip import FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.detection.detector import Detector, Outputs, Prepared, Size

from .models import Models
from .photos import Photo, PhotoSet, decode
from .prompts import own_prompts, read_prompts
from .settings import Side

try:
    from spaces import GPU as ON_LENT_GPU  # type: ignore[import-not-found]
except ImportError:

    def ON_LENT_GPU(function: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802
        return function


MAX_REFERENCES = 4  # sets of photographs with references in memory
MAX_VIEWS = 65  # of an image, the whole and its tiles, so that nobody waits for long
OWN_PROMPTS = "With reference images, the model's own prompts are used."
OTHER_PROMPTS = "The thresholds were set for the model's own prompts; with others, check them on images that you know."
SEEN_IN_TILES = "Seen in {} tiles too."
NO_THRESHOLDS_IN_TILES = "The model has no thresholds for such tiles, so those of whole images decide."
THRESHOLDS_IN_TILES = (
    "The model's own thresholds are then {threshold:.3f} (decision) and {pixel_threshold:.3f} (contour)."
)


@dataclass
class Finding:
    """
    The result for one photograph: the probability that it is anomalous, the model's outputs for each of its views, its
    size (height and width in pixels) and the thresholds that belong to the result. Or an error.
    """

    photo: Photo
    side: Side
    score: float = 0.0
    outputs: list[Outputs] = field(default_factory=list)
    size: Size = (0, 0)
    processor: FBCLIPProcessor | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""

    def result(self, pixel_threshold: float | None = None) -> dict[str, Any]:
        """Score, label, map, mask and regions at the photograph's own size. ValueError for one with an error."""
        if self.processor is None:
            raise ValueError(self.error)
        if pixel_threshold is None:
            pixel_threshold = self.thresholds["pixel_threshold"]
        return self.processor.post_process_views(
            self.outputs, self.size, self.thresholds["threshold"], pixel_threshold
        )

    def picture(self) -> Image.Image:
        """The photograph as the model reads it. ValueError for one with an error."""
        if self.processor is None:
            raise ValueError(self.error)
        return decode(self.photo, self.processor)


class Examiner:
    """Runs the models on photographs."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self._recent: list[ref[PhotoSet]] = []  # those whose references are in memory
        # A lent GPU has a process of its own, which gets copies of the arguments: so a name, not the model.
        self._run_model = ON_LENT_GPU(self._run)
        self._make = ON_LENT_GPU(self._make_references)

    def own_settings(self, model: str, has_references: bool = False) -> tuple[str, str, float, float]:
        """The model's own prompts, and its thresholds for images and for pixels in steps of the sliders."""
        detector = self.models.get(model)
        thresholds = detector.processor.general_thresholds(has_references or detector.references is not None)
        return *own_prompts(detector), round(thresholds["threshold"], 3), round(thresholds["pixel_threshold"], 3)

    def references(self, model: str, good: PhotoSet, tiles: bool, mutual: bool = False) -> FBCLIPReferences:
        """
        References from good images, or from images that judge one another. Those of the last sets are kept.

        Raises:
            ValueError: an image cannot be read, or they are too few, or in tiles of several shapes.
        """
        key = model, tiles, mutual
        if key not in good.made:
            pictures = [decode(photo, self.models.get(model).processor) for photo in good.photos]
            good.made[key] = self._make(model, pictures, tiles, mutual)
        others = [known for known in self._recent if known() not in (None, good)]
        for oldest in others[: -MAX_REFERENCES + 1]:
            if (left := oldest()) is not None:
                left.made.clear()  # they are made again when they are needed
        self._recent = [*others[-MAX_REFERENCES + 1 :], ref(good)]
        return good.made[key]

    def find(
        self, photo: Photo, side: Side, tiles: bool = False, references: FBCLIPReferences | None = None
    ) -> Finding:
        """The finding for one photograph."""
        try:
            return self._find(photo, side, tiles, references)
        except ValueError as error:
            return Finding(photo, side, error=str(error))

    def _find(self, photo: Photo, side: Side, tiles: bool, references: FBCLIPReferences | None) -> Finding:
        picture = decode(photo, self.models.get(side.model).processor)
        size = picture.height, picture.width
        detector = self._detector(side.model, size, tiles, references)
        ids, notes = read_prompts(detector, side.normal, side.anomalous)
        if ids is not None and detector.references is not None:
            ids, notes = None, [OWN_PROMPTS]
        elif ids is not None:
            notes.append(OTHER_PROMPTS)
        prepared = detector.prepare(picture)
        (outputs,) = self._run_model(side.model, [prepared], ids, references)
        processor = detector.processor
        thresholds = detector.thresholds_of(None, processor.mode_of(outputs, size))
        if len(outputs) > 1:
            notes.append(SEEN_IN_TILES.format(len(outputs) - 1) + _told_of(detector, thresholds, size))
        score = processor.score_of_views(outputs, size)
        return Finding(photo, side, score, outputs, size, processor, thresholds, notes)

    def _detector(self, model: str, size: Size, tiles: bool, references: FBCLIPReferences | None) -> Detector:
        detector = self.models.get(model)
        processor = detector.processor
        if tiles or processor.tile is not None:
            processor = _with_tiles(processor, size)
        return replace(detector, processor=processor, references=references or detector.references)

    def _run(
        self,
        model: str,
        prepared: Sequence[Prepared],
        prompt_input_ids: Tensor | None,
        references: FBCLIPReferences | None,
    ) -> list[list[Outputs]]:
        detector = self.models.get(model)
        return list(replace(detector, references=references or detector.references).run(prepared, prompt_input_ids))

    def _make_references(self, model: str, pictures: list[Image.Image], tiles: bool, mutual: bool) -> FBCLIPReferences:
        size = pictures[0].height, pictures[0].width
        detector = self._detector(model, size, tiles, None)
        return FBCLIPReferences.from_images(detector.model, detector.processor, pictures, mutual=mutual)


def _told_of(detector: Detector, thresholds: dict[str, float], size: Size) -> str:
    """What a visitor should know of the thresholds for tiles, if these are not those of the whole image."""
    processor = detector.processor
    if detector.references is None and not processor.has_mode(processor.mode(size)):
        return f" {NO_THRESHOLDS_IN_TILES}"
    is_other = thresholds != processor.general_thresholds(detector.references is not None)
    return f" {THRESHOLDS_IN_TILES.format(**thresholds)}" if is_other else ""


def _with_tiles(processor: FBCLIPProcessor, size: Size) -> FBCLIPProcessor:
    """The processor with tiles that are large enough for the image not to have too many of them."""
    cut = processor if processor.tile is not None else processor.with_views(tile="auto")
    side = max(processor.image_size)
    while len(cut.views(size)) > MAX_VIEWS:
        side *= 2
        cut = processor.with_views(tile=side)
    return cut
