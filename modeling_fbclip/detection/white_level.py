"""`--white-level auto`: one value of white for all images, found in the first of them."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from modeling_fbclip.images_fbclip import undeclared_maximum

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

LOOKED_AT = 100  # images
BITS = (8, 10, 12, 14, 16)


def images_of(dataset: "Dataset | IterableDataset") -> Iterator[Callable[[], Any]]:
    """Functions that give the images of a data set's rows, in order. A stream can be read again afterwards."""
    from modeling_fbclip.data.decoding import open_image, row_name, undecoded

    rows: Any = undecoded(dataset)
    for index, row in enumerate(rows):
        yield partial(open_image, row["image"], row_name(row, index))


def find_white_level(
    images: Iterable[Callable[[], Any]], max_megapixels: float, tell: Callable[[str], object]
) -> int | None:
    r"""
    The white of the smallest usual number of bits that holds the largest value of the first images; `None` if all of
    them declare their white. Every process that looks at the same images finds the same.

    Args:
        images: functions that give what `load_rgb_image` reads. Images that cannot be read are passed over: the walk
            tells of them.
        max_megapixels: larger images are passed over.
        tell: takes the line that says what was found.
    """
    count, largest = 0, None
    for image in islice(images, LOOKED_AT):
        count += 1
        try:
            found = undeclared_maximum(image(), max_megapixels)
        except (OSError, ValueError):
            continue
        largest = max((value for value in (largest, found) if value is not None), default=None)
    first = f"the first {count} image{'s' * (count != 1)}"
    if largest is None:
        tell(f"white level: not set; {first} declare their own")
        return None
    bits = next((bits for bits in BITS if largest < 2**bits), None)
    if bits is None:
        tell(f"white level: none found; the largest value of {first} is {largest}, more than 16 bits hold")
        return None
    tell(f"white level: {2**bits - 1} ({bits} bits); the largest value of {first} is {largest}")
    return 2**bits - 1
