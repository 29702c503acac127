"""
Odd inputs by hypothesis: each gives a result or one line, no traceback, no hang. `make fuzz` tries ten thousand and
prints how many ended in which way; `make test` tries a few.

To add a kind of input, write a function that tries one example, with `@tries(strategy)`.
"""

import argparse
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel
import numpy as np
import pillow_heif
import pydicom
import tifffile
import torch
from deep_files import png16, tiff16
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian
from trees import TREES, plant

from modeling_fbclip.data import check_anomaly_dataset, load_anomaly_dataset
from modeling_fbclip.detection.image_finder import ImageFinder
from modeling_fbclip.images_fbclip import load_rgb_image
from modeling_fbclip.masks_fbclip import load_mask

SECONDS = 20  # of one input, after which it counts as a hang
LONGEST_LINE = 1000  # characters
MEGAPIXELS = 1.0  # so that a mutated size does not fill the memory
PIXELS = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)

FORMATS = ["AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF"]
FORMATS += ["WEBP"]

Trial = Callable[[Any], object]
KINDS: dict[str, tuple[st.SearchStrategy[Any], Trial]] = {}


def tries(strategy: st.SearchStrategy[Any]) -> Callable[[Trial], Trial]:
    """Registers a function that tries one example: it returns, or raises ValueError or OSError with one line."""

    def register(trial: Trial) -> Trial:
        KINDS[trial.__name__.replace("_", " ")] = strategy, trial
        return trial

    return register


def outcome_of(trial: Trial, example: Any) -> str:
    """`"result"` or `"one line"`. AssertionError, or what the trial raises, if it is neither."""
    signal.signal(signal.SIGALRM, _hang)
    signal.alarm(SECONDS)
    try:
        trial(example)
    except (OSError, ValueError) as error:
        line = str(error)
        assert len(line.splitlines()) == 1, f"not one line: {line!r}"
        assert len(line) <= LONGEST_LINE, f"{len(line)} characters: {line!r}"
        return "one line"
    finally:
        signal.alarm(0)
    return "result"


def run(name: str, count: int) -> Counter[str]:
    """The outcomes of `count` examples of a kind. Hypothesis shows the smallest example that ends otherwise."""
    strategy, trial = KINDS[name]
    seen: Counter[str] = Counter()

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def try_one(example: Any) -> None:
        seen[outcome_of(trial, example)] += 1

    try_one()
    return seen


def _hang(*_: object) -> None:
    raise AssertionError(f"no end after {SECONDS} seconds")


@cache
def real_files() -> list[bytes]:
    """A small file of every format."""
    colours, grey = Image.fromarray(PIXELS), Image.fromarray(PIXELS[:, :, 0])
    files = [png16(PIXELS.astype(np.uint16) * 257, 12), tiff16(PIXELS.astype(np.uint16) * 16)]
    files += [tiff16(PIXELS.astype(np.uint16) * 16, ">", deflated=True, planes=True), _dicom(), _nifti()]
    files += [_saved(picture, kind) for kind in FORMATS for picture in (colours, grey)]
    files += [_saved(colours.convert("CMYK"), "JPEG"), _saved(colours.quantize(16), "PNG")]
    files += [_saved(grey.convert("1"), "TIFF"), _saved(grey.convert("F"), "TIFF")]
    files += [_saved(grey, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits")]
    files += [_saved(grey, kind, save_all=True, append_images=[grey] * 2) for kind in ("GIF", "PNG", "TIFF", "WEBP")]
    heif = BytesIO()
    pillow_heif.from_pillow(Image.fromarray(np.tile(PIXELS, (5, 5, 1)))).save(heif)
    floats = BytesIO()
    tifffile.imwrite(floats, PIXELS / 255, photometric="rgb")
    return [*files, heif.getvalue(), floats.getvalue()]


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _dicom() -> bytes:
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    data.Rows, data.Columns, data.SamplesPerPixel = 13, 17, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PhotometricInterpretation, data.RescaleSlope, data.RescaleIntercept = "MONOCHROME1", 1, -1024
    data.WindowCenter, data.WindowWidth = 40, 400
    data.PixelData = (PIXELS[:, :, 0].astype(np.uint16) * 16).tobytes()
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _nifti() -> bytes:
    return nibabel.Nifti1Image(PIXELS, np.diag([2, -1, 1, 1])).to_bytes()


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A real file, of which some bytes are changed, and the end may be missing. Changes gather in its header."""
    data = bytearray(draw(st.sampled_from(real_files())))
    places = st.integers(0, len(data) - 1) | st.integers(0, min(99, len(data) - 1))
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        data[place] = value
    return bytes(data[: draw(st.none() | st.integers(0, len(data)))])


DTYPES = [np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint64, np.float16, np.float32, np.float64]
DTYPES += [np.complex64, np.dtype("U2"), np.dtype("M8[s]"), np.dtype(">u2"), np.dtype(">f4")]


@tries(mutated_files())
def bytes_of_files(data: bytes) -> None:
    """As an image and as a mask."""
    errors = []
    for load in (load_rgb_image, load_mask):
        try:
            load(data, max_megapixels=MEGAPIXELS)
        except ValueError as error:
            errors.append(error)
    if errors:
        raise errors[0]


@st.composite
def odd_arrays(draw: st.DrawFn) -> np.ndarray:
    """Of any type and range; half of them have a shape and a range that images or masks may have."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    channels = st.sampled_from([(), (1,), (3,), (4,)])
    images = st.builds(lambda size, last: size + last, array_shapes(min_dims=2, max_dims=2, max_side=9), channels)
    shape = draw(images | array_shapes(min_dims=0, max_dims=4, min_side=0))
    usual = st.floats(0, 1, width=16) if dtype.kind == "f" else None
    return draw(arrays(dtype, shape, elements=draw(st.sampled_from([None, usual]))))


@tries(odd_arrays())
def arrays_as_images(array: np.ndarray) -> None:
    for image in (array, torch.from_numpy(array)) if array.dtype.isnative and array.dtype.kind in "biuf" else (array,):
        assert load_rgb_image(image).mode == "RGB"


@tries(odd_arrays())
def arrays_as_masks(array: np.ndarray) -> None:
    assert set(np.unique(load_mask(array))) <= {0, 1, -100}


OBJECTS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates()


@tries(st.recursive(OBJECTS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner)))
def objects(thing: object) -> None:
    load_rgb_image(thing)  # type: ignore[arg-type]


@tries(TREES)
def folder_trees(tree: Any) -> None:
    """As a data set: checked, loaded whole and as a stream; and as a list of images."""
    with TemporaryDirectory() as place:
        root = Path(place)
        plant(root, tree)
        list(ImageFinder(recursive=True, output=root / "outputs").find(str(root), Counter()))
        errors = []
        for read in (
            check_anomaly_dataset,
            lambda folder: load_anomaly_dataset(folder)["label"],
            lambda folder: list(load_anomaly_dataset(folder, "train", streaming=True)),
        ):
            try:
                read(root)
            except (OSError, ValueError) as error:
                errors.append(error)
        if len(errors) == 3:
            raise errors[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="inputs in all")
    count = parser.parse_args().count
    for name in KINDS:
        seen = run(name, -(-count // len(KINDS)))
        print(f"{name}: {', '.join(f'{number} {outcome}' for outcome, number in seen.most_common())}", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
