"""References of a detector: from images that the user names, or from those to be examined."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from modeling_fbclip import FBCLIPReferences
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.image_finder import ImageFinder
from modeling_fbclip.detection.processes import ALONE
from modeling_fbclip.detection.sources import Source, open_images
from modeling_fbclip.mutual_fbclip import make_mutual
from modeling_fbclip.references_fbclip import SETTINGS_NAME


def named_images(arguments: Sequence[str], output: Path) -> tuple[list[str], list[str]]:
    """
    Paths of the images that files, folders and globs name, and their names, which are absolute.

    Raises:
        ValueError: if one of them names no image.
    """
    source = open_images(arguments, ImageFinder(False, output), None, batch_size=1)
    paths = list(dict.fromkeys(item.path for (item,) in source.batches(ALONE)))
    return paths, [str(Path(path).absolute()) for path in paths]


def make_references(
    detector: Detector, arguments: Sequence[str], output: Path, on_image: Callable[[], object]
) -> FBCLIPReferences:
    """
    References from good images, or from a folder that has saved ones.

    Args:
        detector: has the model and the processor.
        arguments: image files, folders of them and globs; or one folder with saved references.
        output: where results go; its images are left out.
        on_image: called after each image.

    Raises:
        OSError, ValueError: if one of them names no image, or an image cannot be read.
    """
    if len(arguments) == 1 and Path(arguments[0], SETTINGS_NAME).is_file():
        references = FBCLIPReferences.from_pretrained(arguments[0])
        references.check(detector.model, detector.processor)
        return references
    paths, names = named_images(arguments, output)
    return FBCLIPReferences.from_images(detector.model, detector.processor, paths, names, on_image=on_image)


def make_mutual_references(
    detector: Detector, source: Source, sample: int, seed: int, on_image: Callable[[], object]
) -> FBCLIPReferences:
    """
    A random sample of the images to be examined, which each of them is compared with.

    Raises:
        ValueError: if there are fewer than eight images, or if they are a stream.
    """
    if source.total() is None:
        raise ValueError("a stream is not known before its end; leave --streaming out")
    items = list({item.path: item for item in chain.from_iterable(source.batches(ALONE))}.values())
    sources = [item.source for item in items]
    names = [item.path for item in items]
    return make_mutual(detector.model, detector.processor, sources, names, sample, seed, on_image)
