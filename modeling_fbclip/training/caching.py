"""Whether a run keeps the tokens of the frozen tower, and where."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from PIL import Image

from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.training.arguments import NO_CACHE, FBCLIPTrainingArguments
from modeling_fbclip.training.augmentation import VIEWS
from modeling_fbclip.training.feature_cache import FeatureCache
from modeling_fbclip.training.images import TrainingImages
from modeling_fbclip.training.schedule import Draw

PAYS = 1.5  # times as many pictures go through the tower without a cache
LARGEST = 20e9  # bytes of a cache that nobody has asked for
FREE_SHARE = 0.5  # of the disk's free space that it may take


def open_cache(
    args: FBCLIPTrainingArguments,
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    num_trained: int,
    num_held_out: int,
) -> FeatureCache | None:
    """
    The cache in the folder of the arguments. Without one, beside the output if it saves time and is not large; in
    float32, so that the result is the same.
    """
    if args.synthetic or args.cache_features == NO_CACHE:
        return None
    if args.cache_features is not None:
        dtype = getattr(torch, args.cache_dtype)
        return FeatureCache(Path(args.cache_features), model, processor, dtype, args.mixed_precision)
    once = min(args.epochs, num_views(args)) * num_trained + num_held_out
    anew = args.epochs * num_trained + (args.epochs + 1) * num_held_out
    if anew < PAYS * once:
        return None
    folder = _own_folder(args)
    cache = FeatureCache(folder, model, processor, torch.float32, args.mixed_precision)
    room = min(LARGEST, FREE_SHARE * shutil.disk_usage(folder.parent).free)
    is_made = cache.folder.exists()  # by the run that is resumed
    fits = is_made or once * cache.bytes_an_image <= room
    return cache if gather_object([fits])[0] else None  # all processes do as the first one


def fill_cache(
    cache: FeatureCache,
    images: Sequence[TrainingImages],
    args: FBCLIPTrainingArguments,
    model: FBCLIPModel,
    accelerator: Accelerator,
) -> None:
    """Computes the tokens of all images, of those that are augmented in every view, and gives the cache to them."""
    pictures: dict[str, Callable[[], Image.Image]] = {}
    for some in images:
        epochs = 1 if some.augmentation is None else min(args.epochs, num_views(args))
        draws = [Draw(epoch, row) for epoch in range(epochs) for row in range(len(some.rows))]
        pictures |= {some.name(draw): partial(some.picture, draw) for draw in draws}
    cache.fill(pictures, model, images[0].processor, args.batch_size, accelerator)
    for some in images:
        some.cache = cache


def remove_own_cache(cache: FeatureCache | None, args: FBCLIPTrainingArguments) -> None:
    """Removes the cache that nobody has asked for."""
    if cache is None or args.cache_features is not None:
        return
    shutil.rmtree(cache.folder, ignore_errors=True)
    with suppress(OSError):  # another run has a cache there
        cache.folder.parent.rmdir()


def _own_folder(args: FBCLIPTrainingArguments) -> Path:
    """Beside the output folder."""
    output = Path(args.output_dir).absolute()
    return output.with_name(f"{output.name}.features")


def num_views(args: FBCLIPTrainingArguments) -> int:
    """Of each image that is trained on."""
    return VIEWS if args.augment else 1
