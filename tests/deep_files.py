"""Bytes of image files with 16 bits a channel, of kinds that Pillow reads but cannot write."""

import struct
import zlib

import numpy as np

PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels


def png16(values: np.ndarray, significant_bits: int | None = None) -> bytes:
    """A PNG file of values `(height, width)` or `(height, width, channels)`: grey, grey and alpha, RGB or RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    channels = values.size // (height * width)
    rows = values.astype(">u2").reshape(height, -1)
    size = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    bits = b"" if significant_bits is None else chunk(b"sBIT", bytes([significant_bits] * channels))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + bits + pixels + chunk(b"IEND", b"")


def tiff16(
    values: np.ndarray,
    order: str = "<",
    deflated: bool = False,
    planes: bool = False,
    tags: dict[int, int] | None = None,
) -> bytes:
    """
    A TIFF file of 16-bit values `(height, width)` or `(height, width, channels)`, in the order of bytes `<` or `>`,
    compressed or not, with a plane for each channel or not, and with other tags.
    """
    height, width = values.shape[:2]
    channels = values.size // (height * width)
    separate = planes and channels > 1
    parts = [values[:, :, channel] for channel in range(channels)] if separate else [values]
    strips = [part.astype(f"{order}{values.dtype.kind}2").tobytes() for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    place, offsets = 8, []
    for strip in strips:
        offsets.append(place)
        place += len(strip)
    entries: dict[int, list[int]] = {
        256: [width],
        257: [height],
        258: [16] * channels,
        259: [8 if deflated else 1],
        262: [1 if channels == 1 else 2],
        273: offsets,
        277: [channels],
        278: [height],
        279: [len(strip) for strip in strips],
        284: [2 if separate else 1],
    } | ({338: [2]} if channels == 4 else {})
    entries |= {tag: [value] for tag, value in (tags or {}).items()}
    directory_place = place + place % 2
    extra_place = directory_place + 2 + 12 * len(entries) + 4
    directory, extra = struct.pack(f"{order}H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        data = struct.pack(f"{order}{len(numbers)}I", *numbers)
        value = data if len(data) == 4 else struct.pack(f"{order}I", extra_place + len(extra))
        extra += data if len(data) > 4 else b""
        directory += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + value
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory_place)
    return start + b"".join(strips) + b"\0" * (place % 2) + directory + b"\0\0\0\0" + extra
