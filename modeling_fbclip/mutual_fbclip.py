"""References for images that judge one another (MuSc, arXiv 2401.16753)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from .images_fbclip import ImageSource
from .references_fbclip import MIN_MUTUAL, FBCLIPReferences

if TYPE_CHECKING:
    from .modeling_fbclip import FBCLIPModel
    from .processing_fbclip import FBCLIPProcessor

MUTUAL_SAMPLE = 32  # images that each one is compared with


def make_mutual(
    model: "FBCLIPModel",
    processor: "FBCLIPProcessor",
    images: Sequence[ImageSource | Callable[[], ImageSource]],
    names: Sequence[str] | None = None,
    sample: int = MUTUAL_SAMPLE,
    seed: int = 0,
    on_image: Callable[[], object] | None = None,
) -> FBCLIPReferences:
    r"""
    References for images that judge one another: a random sample of them, the same for all, so that the cost of an
    image does not grow with their number.

    Args:
        model, processor, on_image: As for [`FBCLIPReferences.from_images`].
        images (list of images, or of functions that give one): All of them, at least eight.
        names (`list[str]`, *optional*): Their names in messages.
        sample (`int`, defaults to 32): How many are drawn.
        seed (`int`, defaults to 0): Of the draw.

    Raises:
        `ValueError`: There are fewer than eight images, or `sample` is below eight.
    """
    if sample < MIN_MUTUAL:
        raise ValueError(f"`sample` is {sample}, but must be at least {MIN_MUTUAL}.")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    drawn, known = [], []
    for index in order:
        name = f"image {index}" if names is None else names[index]
        try:
            image = images[index]
            drawn.append(processor.read_image(image() if callable(image) else image, name))
        except (OSError, ValueError):  # it gets its own line when its turn comes
            continue
        known.append(name)
        if len(drawn) == sample:
            break
    return FBCLIPReferences.from_images(model, processor, drawn, known, mutual=True, on_image=on_image)
