"""How far an exported model is from the one that it was exported from, on images."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.images_fbclip import ImageSource
from modeling_fbclip.views_fbclip import View

# The largest difference of scores and maps, by precision.
LARGEST_DIFFERENCE = {"float32": 1e-4, "float16": 1e-2}
LEAST_CORRELATION = 0.99  # of maps, for int8, which must not change a decision


@dataclass(frozen=True)
class Difference:
    """Of values between 0 and 1."""

    largest: float
    mean: float


@dataclass(frozen=True)
class Parity:
    """
    An exported model beside the original, on some images at two sizes: differences, the correlation of all maps, how
    many images change their decision, and seconds an image of both.
    """

    runtime: str
    precision: str
    images: int
    sizes: list[tuple[int, int]]
    scores: Difference
    maps: Difference
    map_correlation: float
    changed_decisions: int
    seconds: dict[str, float]

    @property
    def violations(self) -> list[str]:
        """What is out of the bounds of the precision, in words."""
        limit = LARGEST_DIFFERENCE.get(self.precision)
        found = []
        if limit is not None:
            pairs = (("scores", self.scores.largest), ("maps", self.maps.largest))
            found = [f"{name} differ by up to {by:.2g}, above {limit:g}" for name, by in pairs if not by <= limit]
        else:
            if not self.map_correlation >= LEAST_CORRELATION:
                found.append(f"the correlation of maps is {self.map_correlation:.4f}, below {LEAST_CORRELATION}")
            if self.changed_decisions:
                found.append(f"the decision changes on {self.changed_decisions} of {self.images} images")
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"within_bounds": not self.violations}


@torch.inference_mode()
def compare(
    original: FBCLIPModel,
    exported: Any,
    processor: FBCLIPProcessor,
    images: Sequence[ImageSource],
    prompt_input_ids: Tensor | None = None,
    references: FBCLIPReferences | None = None,
) -> Parity:
    """
    Runs both models on images, one at a time, as they are and without their last rows and columns of patches. With
    references: at the size of the whole images, and at that of the first tile if they have tiles.

    Raises:
        ValueError: an image cannot be read.
    """
    config = exported.config
    text_embeds = original.get_text_features(prompt_input_ids)
    scores: list[tuple[np.ndarray, ...]] = []
    maps: list[tuple[np.ndarray, ...]] = []
    seconds = np.zeros((2, len(images)))
    changed = 0
    sizes: list[tuple[int, int]] = []
    for index, image in enumerate(images):
        inputs, *others = _inputs(processor, image, config.patch_size, references)
        if index == 0:  # what the first call sets up is not timed
            sizes = [tuple(each["pixel_values"].shape[2:]) for each in (inputs, *others)]
            original(**inputs, text_embeds=text_embeds)
            exported(**inputs)
        started = time.perf_counter()
        whole = original(**inputs, text_embeds=text_embeds)
        between = time.perf_counter()
        own_whole = exported(**inputs)
        seconds[:, index] = between - started, time.perf_counter() - between
        more = [(original(**each, text_embeds=text_embeds), exported(**each)) for each in others]
        for pair in ((whole, own_whole), *more):
            scores.append(tuple(outputs.image_scores.numpy() for outputs in pair))
            maps.append(tuple(outputs.anomaly_maps.numpy().ravel() for outputs in pair))
        labels = {processor.post_process_anomaly_detection(outputs)[0]["label"] for outputs in (whole, own_whole)}
        changed += len(labels) > 1
    all_maps = [np.concatenate(each) for each in zip(*maps, strict=True)]
    return Parity(
        runtime=config.runtime,
        precision=config.precision,
        images=len(images),
        sizes=sizes,
        scores=_difference(*(np.concatenate(each) for each in zip(*scores, strict=True))),
        maps=_difference(*all_maps),
        map_correlation=_correlation(*all_maps),
        changed_decisions=changed,
        seconds=dict(zip(("torch", config.runtime), np.median(seconds, axis=1).tolist(), strict=True)),
    )


def _inputs(
    processor: FBCLIPProcessor, image: ImageSource, patch_size: int, references: FBCLIPReferences | None
) -> list[dict[str, Any]]:
    """What both models see of an image, at each size."""
    if references is None:
        pixels = processor(images=[image])["pixel_values"]
        return [{"pixel_values": each} for each in (pixels, pixels[:, :, :-patch_size, : -2 * patch_size])]
    picture = processor.read_image(image)
    inputs = []
    for place, known in enumerate(references.views[:2]):
        height, width = (side * patch_size for side in known.grid)
        pixels = processor.prepare_view(picture, View((0, 0, *picture.size), (height, width)))
        inputs.append({"pixel_values": pixels[None], "references": references.at([place])})
    return inputs


def _difference(first: np.ndarray, second: np.ndarray) -> Difference:
    difference = np.abs(first - second)
    return Difference(float(difference.max()), float(difference.mean()))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of two constant maps, 1 if they are equal."""
    if first.std() == 0 or second.std() == 0:
        return float(np.array_equal(first, second))
    return float(np.corrcoef(first, second)[0, 1])
