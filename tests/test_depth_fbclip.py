"""Images of any depth: one picture gives one result, whatever the file's bits per sample."""

import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from modeling_fbclip import FBCLIPProcessor, depth_fbclip
from modeling_fbclip.depth_fbclip import to_8_bits
from modeling_fbclip.images_fbclip import load_rgb_image

GREY = np.random.default_rng(0).integers(3, 235, (60, 80)).astype(np.uint8)


def save(values: np.ndarray, path: Path, **tags: int) -> Path:
    picture = Image.fromarray(values)
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[int(tag.removeprefix("tag"))] = value
    picture.save(path, tiffinfo=directory) if tags else picture.save(path)
    return path


def read(path: Path) -> np.ndarray:
    return np.asarray(load_rgb_image(path))[:, :, 0].astype(int)


def one_pixel(values: np.ndarray, value: float) -> np.ndarray:
    changed = values.copy()
    changed[5, 7] = value
    return changed


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("16 bits.png", GREY.astype(np.uint16) * 257),
        ("16 bits.tif", GREY.astype(np.uint16) * 257),
        ("float.tif", (GREY / 255).astype(np.float32)),
        ("float, one pixel above 1.tif", one_pixel((GREY / 255).astype(np.float32), 1.01)),
        ("float up to 255.tif", GREY.astype(np.float32)),
        ("int32 as 8 bits.tif", GREY.astype(np.int32)),
        ("int32 as 8 bits, one pixel above.tif", one_pixel(GREY.astype(np.int32), 256)),
        ("int32 as 16 bits.tif", GREY.astype(np.int32) * 257),
    ],
)
def test_every_depth_gives_the_8_bit_picture(tmp_path: Path, name: str, values: np.ndarray) -> None:
    found = read(save(values, tmp_path / name))
    difference = np.abs(found - GREY)
    difference[5, 7] = 0  # may be clipped
    assert difference.max() <= 1


@pytest.mark.parametrize("values", [np.full((8, 8), 0.5), np.full((8, 8, 3), 0.5)])
def test_one_pixel_of_a_small_image_sets_no_scale(values: np.ndarray) -> None:
    values[2, 3] = 1.01
    pixels = np.asarray(load_rgb_image(values))
    assert (pixels[0, 0, 0], pixels[2, 3, 0]) == (128, 255)


@pytest.mark.parametrize(("depth", "white"), [(np.int8, None), (np.uint32, 2**32 - 1)])
def test_signs_of_tiff_files_are_declared(tmp_path: Path, depth: type, white: int | None) -> None:
    largest = np.iinfo(depth).max
    path = tmp_path / "part.tif"
    tifffile.imwrite(path, np.array([[0, largest // 2, largest]] * 2, depth), photometric="minisblack")
    picture = np.asarray(load_rgb_image(path, white_level=white))
    assert np.abs(picture[0, :, 0].astype(int) - [0, 127, 255]).max() <= 1


@pytest.mark.parametrize("values", [GREY, GREY.astype(np.uint16) * 257], ids=["8 bits", "16 bits"])
def test_min_is_white_is_inverted_at_every_depth(tmp_path: Path, values: np.ndarray) -> None:
    # Pillow inverts the values itself when it writes or reads 8 bits with this tag, so only the tag is changed.
    path = save(values, tmp_path / "plain.tif")
    plain = read(path)
    data = path.read_bytes()
    entry = b"\x06\x01\x03\x00\x01\x00\x00\x00\x01\x00"  # tag 262, one short, 1: black is zero
    assert data.count(entry) == 1
    path.write_bytes(data.replace(entry, entry[:-2] + b"\x00\x00"))
    assert np.abs(read(path) - (255 - plain)).max() <= 1


def test_a_dark_16_bit_image_gives_one_warning_with_the_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth_fbclip, "_warned", set())
    dark = save(GREY.astype(np.uint16) * 16, tmp_path / "dark.png")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            read(dark)
    (message,) = caplog.messages
    assert message.startswith(f"{dark}: 16 bits, but no value above {int(GREY.max()) * 16}")
    assert "--white-level" in message


@pytest.mark.parametrize(
    "values", [np.full((4, 4), 2.0), np.full((4, 4), -1.0), np.array([[0.5, np.nan]]), np.array([[0.5, np.inf]])]
)
def test_values_outside_of_the_range_are_an_error(values: np.ndarray) -> None:
    with pytest.raises(
        ValueError,
        match=r"^part: float64 values.* numbers from 0 to 1; scale them, or pass the value of white",
    ):
        to_8_bits(values, "part")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_white_level_sets_the_scale_of_processor_and_pipeline(tmp_path: Path, suffix: str) -> None:
    deep = save(GREY.astype(np.uint16) * 16, tmp_path / f"12 bits.{suffix}")
    save(GREY, tmp_path / "8 bits.png")
    processor = FBCLIPProcessor(white_level=16 * 255)
    assert np.abs(np.asarray(processor.read_image(deep))[:, :, 0].astype(int) - GREY).max() <= 1
    difference = processor(images=deep)["pixel_values"] - processor(images=tmp_path / "8 bits.png")["pixel_values"]
    assert difference.abs().max() < 0.03  # a level or so
    processor.save_pretrained(tmp_path / "saved")
    assert FBCLIPProcessor.from_pretrained(tmp_path / "saved").white_level == 16 * 255
    for wrong in (0, -1, float("inf")):
        with pytest.raises(ValueError, match=f"`white_level` is {wrong}, but must be above 0"):
            FBCLIPProcessor(white_level=wrong)


def test_a_declared_white_sets_the_scale() -> None:
    values = np.array([[0, 2048, 4095]], dtype=np.uint16)
    assert to_8_bits(values, "part", 4095).tolist() == [[0, 128, 255]]
