"""Opens a picture: a file, its bytes, base64 text or a data URI, at one of its pages, and within a limit of size."""

import base64
import logging
import os
import re
import struct
import warnings
from collections.abc import Mapping
from io import BytesIO, IOBase, TextIOBase
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from .deep_fbclip import Deep, load_upright
from .limits_fbclip import library, require_page, require_size
from .medical_fbclip import read_medical
from .tiff_fbclip import TIFF_MARKS, read_tiff

MAX_MEGAPIXELS = 200.0
LONGEST_NAME = 160  # characters of a name in a message
SHORTEST_BASE64 = 40  # characters; no image has fewer
LONGEST_PATH = 4096
PAGE = re.compile(r"(.+)#(\d{1,9})", re.DOTALL)
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# They warn of odd details that they cope with, such as EXIF data that is cut off. Nobody can do anything about them.
LIBRARIES = ("PIL", "nibabel", "pydicom", "tifffile")
warnings.filterwarnings("ignore", module=rf"({'|'.join(LIBRARIES)})\.")
for name_of_library in LIBRARIES:
    logging.getLogger(name_of_library).addHandler(logging.NullHandler())  # else Python prints what they log
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # prints by itself


def open_picture(source: object, name: str, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[Image.Image | Deep, str]:
    r"""
    Opens a picture of any kind but an array.

    Args:
        source: a path, which `#n` may follow; an open file or its bytes; base64 text or a data URI; or a PIL image.
        name: what messages call it if it has no path.
        max_megapixels: a larger picture is refused before it is decoded.

    Returns:
        The picture upright, as Pillow holds it or with more than 8 bits, and its name in messages.

    Raises:
        ValueError: in one line that names the picture.
    """
    try:
        if isinstance(source, Image.Image):
            name = getattr(source, "filename", "") or name
            return _load(source, None, 1e6 * max_megapixels), shortened(name)
        data = _embedded(source)
        if data is not None:
            return _read(BytesIO(data), "", None, 1e6 * max_megapixels), shortened(name)
        if isinstance(source, str | os.PathLike):
            name = os.fspath(source) or "''"
            path, page = split_page(os.fspath(source))
            with _existing(path).open("rb") as stream:
                return _read(stream, path, page, 1e6 * max_megapixels), shortened(name)
    except Exception as error:  # Pillow raises errors of all kinds for damaged files
        raise ValueError(f"{shortened(name)}: {_explain(error)}.") from error
    raise ValueError(f"{shortened(name)}: {_wrong_kind(source)}.")


def split_page(path: str) -> tuple[str, int | None]:
    """`scan.tif#3` as the file and the number of its page, from 0. A file that is really named so has none."""
    match = PAGE.fullmatch(path)
    if match is None or os.path.lexists(path):
        return path, None
    return match[1], int(match[2])


def printable(text: str) -> str:
    """A text whose unprintable characters are escaped, such as a line break in the name of a file."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def shortened(name: str) -> str:
    """A name on one line: it is [`printable`], and a long one, which fills a screen, has no middle."""
    name = printable(name)
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half:]}"


def is_table(value: object) -> bool:
    """Whether it holds images by the names of columns, as a data frame or a row of a data set does."""
    return isinstance(value, Mapping) or (hasattr(value, "columns") and hasattr(value, "__getitem__"))


def _wrong_kind(source: object) -> str:
    kind = type(source).__name__
    if isinstance(source, Mapping):
        return f"{kind} is no image; pass the image in it, such as row['image']"
    if is_table(source):
        return f"{kind} is no image; pass a column of it as a list, such as list(table['path'])"
    return f"{kind} is no image; pass a path, bytes, base64 text, a PIL image, an array or a tensor"


def _embedded(source: object) -> bytes | None:
    """The bytes that are given, also in a data URI or in base64 text; `None` for a path."""
    if isinstance(source, IOBase):
        if isinstance(source, TextIOBase):
            raise ValueError("is open as text; open it with mode 'rb'")
        source.seek(0)
        return source.read()
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if not isinstance(source, str):
        return None
    is_uri = source[:5].lower() == "data:"
    if not is_uri and (len(source) < SHORTEST_BASE64 or (len(source) < LONGEST_PATH and os.path.lexists(source))):
        return None
    header, _, text = source.partition(",") if is_uri else ("", "", source)
    try:
        if is_uri and not header.lower().endswith(";base64"):
            raise ValueError
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:  # binascii's are of this kind too
        if is_uri:
            raise ValueError("a data URI of an image is 'data:image/png;base64,' and base64 text") from None
        return None


def _existing(path: str) -> Path:
    if path.startswith(("http://", "https://")):
        raise ValueError("URLs are not fetched; download the image and pass its path")
    if not path:
        raise ValueError("an empty path names no image")
    file = Path(path)
    if file.is_dir():
        raise ValueError("is a folder; pass the images in it")
    if not file.is_file():
        raise ValueError("is neither a file nor a folder" if file.exists() else "no such file")
    return file


def _read(stream: BinaryIO, path: str, page: int | None, max_pixels: float) -> Image.Image | Deep:
    if not stream.read(1):
        raise ValueError("the file is empty")
    medical = read_medical(stream, path, page, max_pixels)
    if medical is not None:
        return medical
    try:
        identified = _identify(stream)
    except UnidentifiedImageError:
        stream.seek(0)
        if stream.read(4) in TIFF_MARKS:
            return read_tiff(stream, page, max_pixels)
        raise
    with identified as image:
        return _load(image, page, max_pixels)


def _identify(stream: BinaryIO) -> ImageFile.ImageFile:
    """`Image.open` without its limit of size, which holds for the whole process and warns below ours."""
    stream.seek(0)
    prefix = stream.read(16)
    if prefix[4:8] == b"ftyp" and prefix[8:12] in HEIF_BRANDS:
        library("pillow_heif", "heif").register_heif_opener()
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for factory, accept in list(Image.OPEN.values()):  # another thread may be adding to them
            accepted = accept is None or accept(prefix)  # a text tells that a library is missing
            if not accepted or isinstance(accepted, str):
                continue
            stream.seek(0)
            try:
                return factory(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
    raise UnidentifiedImageError


def _load(image: Image.Image, page: int | None, max_pixels: float) -> Image.Image | Deep:
    require_size(image.width * image.height, max_pixels)
    if page is not None:
        require_page(page, getattr(image, "n_frames", 1))
        image.seek(page)
        require_size(image.width * image.height, max_pixels)
    return load_upright(image)


def _explain(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or in a format that Pillow cannot read"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, ValueError | Image.DecompressionBombError):
        return shortened(reason)
    return f"the image is damaged or cut off ({shortened(reason)})"
