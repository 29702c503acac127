"""From a photograph to its score and map. On a Space with ZeroGPU, the model runs on the GPU lent for the call."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from modeling_fbclip.detection.detector import Outputs, Prepared, Prompts, Size
from modeling_fbclip.maps_fbclip import resize_maps

from .models import Models
from .photos import Photo, decode

try:
    from spaces import GPU as ON_LENT_GPU  # type: ignore[import-not-found]
except ImportError:

    def ON_LENT_GPU(function: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802
        return function


NO_PROMPTS = "", ""


class Finding(NamedTuple):
    """
    The result for one photograph: the probability that it is anomalous, a picture of it (RGB, reduced if large), and
    the map of the picture's size (float32 of shape `(height, width)` in `[0, 1]`). Or an error.
    """

    photo: Photo
    score: float = 0.0
    picture: Image.Image | None = None
    anomaly_map: npt.NDArray[np.float32] | None = None
    error: str = ""


class Examiner:
    """Runs the models on photographs."""

    def __init__(self, models: Models) -> None:
        self.models = models
        # A lent GPU has a process of its own, which gets copies of the arguments: so a name, not the model.
        self._run_model = ON_LENT_GPU(self._run)

    def own_settings(self, model: str) -> tuple[str, str, float, float]:
        """The model's own prompts, and its thresholds for images and for pixels in steps of the sliders."""
        processor = self.models.get(model).processor
        return *self.own_prompts(model), round(processor.threshold, 3), round(processor.pixel_threshold, 3)

    def own_prompts(self, model: str) -> Prompts:
        """The model's own prompts for normal and anomalous images; empty if it has no tokenizer to decode them."""
        detector = self.models.get(model)
        processor = detector.processor
        ids: Any = detector.model.config.prompt_input_ids
        if processor.tokenizer is None:
            return NO_PROMPTS
        words = [[i for i in row[1 + processor.prompt_length :] if i != 0][:-1] for row in ids]
        normal, anomalous = map(processor.tokenizer.decode, words)
        return normal.strip(), anomalous.strip()

    def result(
        self, picture: Image.Image, model: str, prompts: Prompts = NO_PROMPTS, size: Size | None = None
    ) -> dict[str, Any]:
        """
        Score, label, map and mask. Map and mask are of `size` (height, width), by default that of the picture. Without
        prompts, the model uses its own.

        Raises:
            ValueError: if the prompts do not suit the model.
        """
        detector = self.models.get(model)
        is_own = prompts in (NO_PROMPTS, self.own_prompts(model))
        ids = None if is_own else detector.processor.encode_prompts(*prompts)
        prepared = detector.prepare(picture)
        (outputs,) = self._run_model(model, [prepared], ids)
        if size is None or len(outputs) == 1:
            return detector.finish(outputs, size or prepared.size)
        result = detector.finish(outputs, prepared.size)  # tiles have their places in the whole picture
        for name in ("anomaly_map", "mask"):
            result[name] = resize_maps(result[name][None].float(), size)[0]
        return result | {"mask": result["mask"] >= 0.5}

    def open(self, photo: Photo, model: str) -> Image.Image:
        """The photograph as the model reads it; ValueError if it cannot be read."""
        return decode(photo, self.models.get(model).processor)

    def find(self, photo: Photo, model: str, prompts: Prompts, longest_side: int) -> Finding:
        """The finding for one photograph. Its picture has at most `longest_side` pixels a side."""
        try:
            picture = self.open(photo, model)
            small = picture.copy()
            small.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
            result = self.result(picture, model, prompts, size=(small.height, small.width))
        except ValueError as error:
            return Finding(photo, error=str(error))
        return Finding(photo, result["score"], small, result["anomaly_map"].numpy())

    def _run(self, model: str, prepared: Sequence[Prepared], prompt_input_ids: Tensor | None) -> list[list[Outputs]]:
        return self.models.get(model).run(prepared, prompt_input_ids)
