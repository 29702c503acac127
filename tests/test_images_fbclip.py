"""Reading images of every kind."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_images import palette_image, row_image

from modeling_fbclip.images_fbclip import load_rgb_image
from modeling_fbclip.masks_fbclip import load_mask

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def rgb(image: object) -> list[list[tuple[int, int, int]]]:
    """The pixels as rows of triples."""
    loaded = load_rgb_image(image)
    assert loaded.mode == "RGB"
    return [[tuple(pixel) for pixel in row] for row in np.asarray(loaded).tolist()]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (row_image(RED, BLUE, mode="RGB"), [RED, BLUE]),
        (row_image(0, 100, 255, mode="L"), [BLACK, (100,) * 3, WHITE]),
        (row_image(0, 255, mode="1"), [BLACK, WHITE]),
        (palette_image([GREEN, RED], [1, 0, 1]), [RED, GREEN, RED]),
        (row_image((0, 255, 255, 0), (0, 0, 0, 255), mode="CMYK"), [RED, BLACK]),
        (row_image((255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 51), mode="RGBA"), [RED, WHITE, (204,) * 3]),
        (row_image((100, 255), (100, 0), mode="LA"), [(100,) * 3, WHITE]),
        (row_image((0, 128, 128), (255, 128, 128), mode="YCbCr"), [BLACK, WHITE]),
        (row_image((0, 255, 255), mode="HSV"), [RED]),
        (row_image(0, 0.5, 1, mode="F"), [BLACK, (128,) * 3, WHITE]),
        (row_image(0, 51, 255, mode="F"), [BLACK, (51,) * 3, WHITE]),
        (row_image(0, 25700, 65535, mode="I"), [BLACK, (100,) * 3, WHITE]),
        (row_image(0, 100, 255, mode="I"), [BLACK, (100,) * 3, WHITE]),
        (Image.frombytes("I;16B", (2, 1), b"\x64\x64\xff\xff"), [(100,) * 3, WHITE]),
        (palette_image([RED, BLUE], [0, 1]).convert("PA"), [RED, BLUE]),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_each_colour_mode_becomes_its_rgb(image: Image.Image, expected: list[tuple[int, int, int]]) -> None:
    assert rgb(image) == [expected]


def test_the_transparent_colour_of_a_file_becomes_white(tmp_path: Path) -> None:
    palette, grey = palette_image([BLACK, BLUE], [0, 1]), row_image(0, 9, mode="L")
    for image, transparent in ((palette, 1), (grey, 9), (row_image(BLACK, BLUE, mode="RGB"), BLUE)):
        image.save(tmp_path / "image.png", transparency=transparent)
        assert rgb(tmp_path / "image.png") == [[BLACK, WHITE]]


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_file_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.array([[0, 128, 129, 25700, 65535]], dtype=np.uint16)).save(tmp_path / f"deep.{suffix}")
    # 65535 is 255, so 257 is one step: 128 rounds down, 129 up.
    assert rgb(tmp_path / f"deep.{suffix}") == [[(value,) * 3 for value in (0, 0, 1, 100, 255)]]


def test_an_image_that_is_transparent_everywhere_is_read_as_opaque(tmp_path: Path) -> None:
    pixels = np.dstack([COLOURS, np.zeros(COLOURS.shape[:2], np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "unused.png")
    assert np.array_equal(np.asarray(load_rgb_image(tmp_path / "unused.png")), COLOURS)
    assert np.array_equal(load_mask(tmp_path / "unused.png"), COLOURS.any(axis=2))


def test_exif_orientation_turns_the_image(tmp_path: Path) -> None:
    upright = [RED, GREEN, BLUE]
    turned = {1: [upright], 3: [upright[::-1]], 6: [[pixel] for pixel in upright], 8: [[BLUE], [GREEN], [RED]]}
    for orientation, expected in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        for path in (tmp_path / f"{orientation}.png", tmp_path / f"{orientation}.tif"):
            row_image(*upright, mode="RGB").save(path, exif=exif)
            assert rgb(path) == expected
            with Image.open(path) as image:
                assert rgb(image) == expected


def test_damaged_exif_data_does_not_hide_the_image(tmp_path: Path) -> None:
    row_image(RED, GREEN, mode="RGB").save(tmp_path / "exif.png", exif=b"Exif\0\0not a TIFF header")
    assert rgb(tmp_path / "exif.png") == [[RED, GREEN]]


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_first_frame_of_an_animation_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"frames.{suffix}"
    frames = [Image.new("RGB", (4, 2), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **({"lossless": True} if suffix == "webp" else {}))
    with Image.open(path) as image:
        assert image.n_frames == 3
    assert rgb(path) == [[RED] * 4] * 2


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    assert np.abs(np.asarray(load_rgb_image(tmp_path / "cmyk.jpg")).astype(int) - RED).max() <= 2


COLOURS = np.arange(0, 240, 8, dtype=np.uint8).reshape(2, 5, 3)


@pytest.mark.parametrize(
    "array",
    [
        COLOURS,
        COLOURS.transpose(2, 0, 1),
        torch.from_numpy(COLOURS),
        torch.from_numpy(COLOURS).permute(2, 0, 1),
        COLOURS.astype(np.uint16) * 257,
        (COLOURS / 255).astype(np.float16),
        torch.from_numpy(COLOURS / 255).permute(2, 0, 1).requires_grad_(),
        np.dstack([COLOURS, np.full((2, 5), 255, np.uint8)]),
        str,
        Path,
    ],
    ids=lambda array: getattr(array, "__name__", None) or f"{type(array).__name__}-{array.dtype}-{tuple(array.shape)}",
)
def test_a_picture_reads_the_same_from_every_kind_of_input(tmp_path: Path, array: object) -> None:
    if isinstance(array, type):
        Image.fromarray(COLOURS).save(tmp_path / "colours.png")
        array = array(tmp_path / "colours.png")
    assert np.array_equal(np.asarray(load_rgb_image(array)), COLOURS)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[False, True]]), [[BLACK, WHITE]]),
        (np.array([[[0], [255]]], np.uint8), [[BLACK, WHITE]]),
        (np.array([[[0, 255]]], np.uint8), [[BLACK, WHITE]]),
        (torch.tensor([[0, 1]], dtype=torch.bfloat16), [[BLACK, WHITE]]),
        (np.array([[[0, 0, 255, 255], [0, 0, 255, 0]]], np.uint8), [[BLUE, WHITE]]),
        # If both layouts fit, the channels of an array are last, those of a tensor first.
        (np.array([[[255] * 3], [[0] * 3], [[0] * 3]], np.uint8), [[WHITE], [BLACK], [BLACK]]),
        (torch.tensor([[[255] * 3], [[0] * 3], [[0] * 3]], dtype=torch.uint8), [[RED, RED, RED]]),
    ],
)
def test_array_becomes_the_right_picture(array: object, expected: object) -> None:
    assert rgb(array) == expected


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((6, 6, 5), np.uint8), r"shape \(6, 6, 5\).*1, 3 or 4 channels"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.full((4, 4), np.nan, np.float32), "float32 values from nan to nan.*from 0 to 1"),
        (np.full((4, 4), 200.0), "float64 values from 200.0 to 200.0.*from 0 to 1"),
        (torch.full((3, 4, 4), -1.5), "float32 values from -1.5"),
        (np.zeros((4, 4), np.int64), "int64 values from 0 to 0.*uint8"),
        (np.zeros((4, 4), complex), "complex128 values, but"),
        (np.array([["a", "b"]], dtype=object), "object values, but"),
        (row_image(0, 300, mode="F"), "from 0.0 to 300.0"),
        (row_image(-1, 3, mode="I"), "int32 values from -1 to 3"),
        (row_image(0, 70000, mode="I"), "from 0 to 70000"),
        (None, "NoneType is no image; pass a path"),
    ],
)
def test_objects_that_are_not_images_are_refused(image: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^images\\[2\\]: .*{reason}") as error:
        load_rgb_image(image, name="images[2]")
    assert "\n" not in str(error.value)


def broken_file(kind: str, folder: Path) -> Path:
    """A broken file. For an image format as `kind`, the file ends in the middle."""
    path = folder / f"{kind}.png"
    if kind == "folder":
        path.mkdir()
    elif kind in ("text", "empty"):
        path.write_text("not an image" if kind == "text" else "")
    elif kind != "missing":
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, "PNG" if kind == "corrupt" else kind)
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle] ^= 0xFF
        path.write_bytes(data if kind == "corrupt" else data[:middle])
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder"),
        ("empty", "the file is empty"),
        ("text", "not an image"),
        ("corrupt", "damaged or cut off"),
        *((kind, "damaged or cut off") for kind in ("PNG", "JPEG", "BMP", "TIFF", "GIF")),
    ],
)
def test_bad_file_is_named_in_an_error_of_one_line(tmp_path: Path, kind: str, reason: str) -> None:
    path = broken_file(kind, tmp_path)
    for source in (path, str(path)):
        with pytest.raises(ValueError, match=reason) as error:
            load_rgb_image(source)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)


def test_cut_off_image_opened_by_the_caller_is_named_in_the_error(tmp_path: Path) -> None:
    path = broken_file("JPEG", tmp_path)
    with Image.open(path) as image, pytest.raises(ValueError, match=r"JPEG\.png: the image is damaged or cut off"):
        load_rgb_image(image)


def test_url_is_not_fetched() -> None:
    with pytest.raises(ValueError, match=r"^https://example\.org/a\.png: URLs are not fetched; download"):
        load_rgb_image("https://example.org/a.png")


@pytest.mark.parametrize("kind", ["good", "text", "PNG"])
def test_files_are_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / "good.png"
    Image.new("L", (4, 4)).save(path)
    path = path if kind == "good" else broken_file(kind, tmp_path)
    streams, path_open = [], Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: streams.append(path_open(self, mode)) or streams[-1])
    with nullcontext() if kind == "good" else pytest.raises(ValueError, match=path.name):
        load_rgb_image(path)
    assert [stream.closed for stream in streams] == [True]


def test_reading_does_not_change_the_callers_image() -> None:
    image = row_image((255, 0, 0, 0), mode="RGBA")
    load_rgb_image(image)
    assert (image.mode, image.getpixel((0, 0))) == ("RGBA", (255, 0, 0, 0))
