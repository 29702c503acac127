"""
The model on a Hugging Face Inference Endpoint.

Request: `{"inputs": image, "parameters": {…}}`. An image is base64 text; a list of images gives a list of answers.
The request may also be the bytes of one image. Parameters, all optional: `threshold` of the image, `pixel_threshold`
of the mask, `prompts`, a text for normal and a text for anomalous images, `references`, a list of 1 to 16 good images
of the product, or `"mutual"` to compare the 8 to 16 images of `inputs` with one another, `tile`, a number of pixels or
`"auto"`, and `keep_aspect`, to see large or long images in tiles and in their own shape, and `min_area` of regions in
pixels. Answer for each image: `score`, `label`, `width`, `height`, `regions` (the connected areas of the mask, each
with `box`, `area`, `peak` and `mean`), and two PNGs in base64: `anomaly_map` with 16 bits, 65535 for a probability of
1, and `mask` with 1 bit, white where a pixel is anomalous.
"""

import base64
import binascii
import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import pipeline

MAX_IMAGES = 16
MAX_BYTES = 32 * 2**20
MAX_PIXELS = 40_000_000
MAX_VIEWS = 1000  # whole images and tiles of a request
FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
THRESHOLDS = ("threshold", "pixel_threshold")
PARAMETERS = (*THRESHOLDS, "prompts", "references", "tile", "keep_aspect", "min_area")


class EndpointHandler:
    """
    Answers requests with the model and the code in a folder.

    Args:
        path: The folder, a copy of the repository.
    """

    def __init__(self, path: str = ".") -> None:
        cuda = torch.cuda.is_available()
        task: Any = "zero-shot-anomaly-detection"  # not in the types of transformers
        self.detect = pipeline(
            task,
            model=path,
            trust_remote_code=True,
            device="cuda" if cuda else "cpu",
            dtype="auto" if cuda else torch.float32,
        )

    def __call__(self, data: Any) -> dict[str, Any] | list[dict[str, Any]]:
        """Answers a request. The Endpoint sends the text of a ValueError back to the client."""
        if isinstance(data, bytes | Image.Image):
            data = {"inputs": data}
        if not isinstance(data, dict):
            raise ValueError("the request must be an object with inputs and parameters.")
        if unknown := sorted(set(map(str, data)) - {"inputs", "parameters"}):
            raise ValueError(f"the request has {', '.join(unknown)}; it may have inputs and parameters only.")
        inputs = data.get("inputs")
        parameters = _parameters(data.get("parameters") or {})
        pictures = _pictures("inputs", inputs if isinstance(inputs, list) else [inputs])
        self._require_few_views(pictures, parameters)
        is_mutual = parameters.get("references") == "mutual"
        results = self.detect(pictures if is_mutual else iter(pictures), **parameters)
        answers = [_answer(result) for result in results]
        return answers if isinstance(inputs, list) else answers[0]

    def _require_few_views(self, pictures: list[Image.Image], parameters: dict[str, Any]) -> None:
        """Raises ValueError if tiles are wrong, or so many that others would wait."""
        settings = {name: parameters[name] for name in ("tile", "keep_aspect") if name in parameters}
        processor = self.detect.processor.with_views(**settings)
        count = sum(len(processor.views((picture.height, picture.width))) for picture in pictures)
        if count > MAX_VIEWS:
            raise ValueError(f"parameters: tile gives {count} views in all; at most {MAX_VIEWS} are allowed.")


def _parameters(given: Any) -> dict[str, Any]:
    """The given parameters, checked; null means the model's own value."""
    if not isinstance(given, dict) or not set(given) <= set(PARAMETERS):
        raise ValueError(f"parameters: must be an object with {', '.join(PARAMETERS)} only.")
    given = {name: value for name, value in given.items() if value is not None}
    for name in THRESHOLDS:
        value = given.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"parameters: {name} must be a number from 0 to 1.")
    prompts = given.get("prompts", ["", ""])
    if not isinstance(prompts, list | tuple) or [type(text) for text in prompts] != [str, str]:
        raise ValueError("parameters: prompts must be two texts, for normal and for anomalous images.")
    if not isinstance(given.get("keep_aspect", False), bool):
        raise ValueError("parameters: keep_aspect must be true or false.")
    references = given.get("references", "mutual")
    if references != "mutual" and not isinstance(references, list):
        raise ValueError("parameters: references must be a list of good images, or the text mutual.")
    if "prompts" in given and "references" in given:
        raise ValueError("parameters: references go with the model's own prompts; leave one of the two out.")
    return given | ({"references": _pictures("references", references)} if isinstance(references, list) else {})


def _pictures(name: str, images: list[Any]) -> list[Image.Image]:
    if not 1 <= len(images) <= MAX_IMAGES:
        raise ValueError(f"{name}: {len(images)} images; send 1 to {MAX_IMAGES} at once.")
    return [_picture(name, image) for image in images]


def _picture(name: str, image: Any) -> Image.Image:
    """Reads an image within the limits. Text must be base64: paths and addresses are not opened."""
    if isinstance(image, str):
        text = "".join((image.partition("base64,")[2] or image).split())  # in lines, as programs write it
        try:
            image = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"{name}: the text is not base64; paths and addresses are not opened.") from None
    if isinstance(image, bytes):
        if len(image) > MAX_BYTES:
            raise ValueError(f"{name}: an image of {len(image)} bytes; at most {MAX_BYTES} are allowed.")
        try:
            image = Image.open(io.BytesIO(image), formats=FORMATS)
        except (OSError, ValueError, Image.DecompressionBombError):
            raise ValueError(f"{name}: not an image; send one of {', '.join(FORMATS)}.") from None
    if not isinstance(image, Image.Image):
        raise ValueError(f"{name}: {type(image).__name__} is not an image; send base64 text.")
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{name}: {image.width} by {image.height} pixels; at most {MAX_PIXELS} are allowed.")
    return image


def _answer(result: dict[str, Any]) -> dict[str, Any]:
    values = np.rint(result["anomaly_map"].numpy() * 65535).astype(np.uint16)
    height, width = values.shape
    return {
        "score": float(result["score"]),
        "label": result["label"],
        "width": width,
        "height": height,
        "regions": result["regions"],
        "anomaly_map": _png(values),
        "mask": _png(result["mask"].numpy()),
    }


def _png(values: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(values).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
