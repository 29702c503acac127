"""Where a picture may come from: paths with pages, bytes, base64 text, data URIs; and what is refused."""

import base64
import sys
import warnings
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pillow_heif
import pytest
from datasets import Dataset
from PIL import Image

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.files_fbclip import shortened, split_page
from modeling_fbclip.images_fbclip import load_rgb_image
from modeling_fbclip.masks_fbclip import load_mask

COLOURS = np.arange(0, 240, 4, dtype=np.uint8).reshape(4, 5, 3)


def png() -> bytes:
    file = BytesIO()
    Image.fromarray(COLOURS).save(file, "PNG")
    return file.getvalue()


def stack(path: Path) -> Path:
    pages = [Image.new("L", (4, 3), 10 * page) for page in range(5)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


@pytest.mark.parametrize(
    "source",
    [
        png(),
        bytearray(png()),
        BytesIO(png()),
        base64.b64encode(png()).decode(),
        base64.encodebytes(png()).decode(),
        f"data:image/png;base64,{base64.b64encode(png()).decode()}",
        f"DATA:;base64,{base64.b64encode(png()).decode()}",
    ],
    ids=["bytes", "bytearray", "BytesIO", "base64", "base64-lines", "uri", "uri-short"],
)
def test_a_picture_need_not_be_a_file(source: object) -> None:
    assert np.array_equal(np.asarray(load_rgb_image(source)), COLOURS)
    assert load_mask(source).sum() == 10  # many shades are cut at half
    processor = FBCLIPProcessor(image_size=8)
    expected = processor(images=COLOURS)["pixel_values"]
    for images in (source, [source]):
        assert np.array_equal(processor(images=images)["pixel_values"], expected)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "the file is empty"),
        (b"text", "not an image, or in a format that Pillow cannot read"),
        (png()[:-30], "the image is damaged or cut off"),
        ("data:image/png;base64,?", "a data URI of an image is 'data:image/png;base64,' and base64 text"),
        ("data:text/plain,hello", "a data URI of an image is"),
        ("A" * 4000, "not an image, or in a format that Pillow cannot read"),
        ({"image": None}, r"dict is no image; pass the image in it, such as row\['image'\]"),
        (pd.DataFrame({"path": ["a.png"]}), r"DataFrame is no image; pass a column of it as a list, such as list\("),
        (StringIO("text"), "is open as text; open it with mode 'rb'"),
        (3, "int is no image; pass a path, bytes, base64 text, a PIL image, an array or a tensor"),
    ],
)
def test_what_is_no_picture_gets_one_line(source: object, reason: str) -> None:
    for images in (source, [source]):
        with pytest.raises(ValueError, match=rf"^images\[0\]: {reason}") as error:
            FBCLIPProcessor(image_size=8)(images=images)
        assert len(str(error.value)) < 300
        assert "\n" not in str(error.value)


def test_an_open_file_is_read_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with (tmp_path / "a.png").open("rb") as file:
        file.read(9)
        assert np.array_equal(np.asarray(load_rgb_image(file)), COLOURS)
        assert not file.closed


def test_an_empty_path_and_a_closed_picture_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^'': an empty path names no image\.$"):
        load_rgb_image("")
    (tmp_path / "a.png").write_bytes(png())
    picture = Image.open(tmp_path / "a.png")
    picture.close()
    with pytest.raises(ValueError, match=r"a\.png: Operation on closed image\.$"):
        load_rgb_image(picture)


def test_rows_of_a_data_set_say_what_to_pass() -> None:
    rows = Dataset.from_dict({"path": ["a.png"]})
    for images in (list(rows), rows[0]):
        with pytest.raises(ValueError, match=r"^images\[0\]: dict is no image; pass the image in it"):
            FBCLIPProcessor(image_size=8)(images=images)


@pytest.mark.parametrize("suffix", ["tif", "gif", "png"])
def test_a_number_after_the_path_chooses_a_page_from_0(tmp_path: Path, suffix: str) -> None:
    path = stack(tmp_path / f"scan.{suffix}")
    for page in (0, 3):
        assert np.asarray(load_rgb_image(f"{path}#{page}")).max() == 10 * page
    assert np.asarray(load_rgb_image(path)).max() == 0
    assert load_mask(f"{path}#1").all()
    with pytest.raises(ValueError, match=rf"scan\.{suffix}#5: there is no page 5: it has 5, numbered from 0\.$"):
        load_rgb_image(f"{path}#5")
    with pytest.raises(ValueError, match=r"none\.tif#2: no such file\.$"):
        load_rgb_image(tmp_path / "none.tif#2")


def test_a_file_whose_name_ends_like_a_page_is_that_file(tmp_path: Path) -> None:
    Image.new("L", (2, 2), 70).save(tmp_path / "a#3.png")
    Image.new("L", (2, 2), 80).save(tmp_path / "b#3", "PNG")
    assert np.asarray(load_rgb_image(tmp_path / "a#3.png")).max() == 70
    assert np.asarray(load_rgb_image(tmp_path / "b#3")).max() == 80
    assert split_page(f"{tmp_path}/b#3") == (f"{tmp_path}/b#3", None)
    assert split_page(f"{tmp_path}/c#3") == (f"{tmp_path}/c", 3)


def test_the_limit_of_megapixels_is_that_of_the_processor(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("L", (200, 100)).save(path)
    message = rf"^{path}: 0\.02 megapixels are more than the limit of 0\.01; make the picture smaller, or raise `max_"
    processor = FBCLIPProcessor(image_size=8, max_megapixels=0.01)
    for images in (path, path.read_bytes()):
        with pytest.raises(ValueError, match=message if images == path else r"^images\[0\]: 0\.02 megapixels"):
            processor(images=images)
    with pytest.raises(ValueError, match=message):
        processor(masks=path)
    processor.save_pretrained(tmp_path / "saved")
    assert FBCLIPProcessor.from_pretrained(tmp_path / "saved").max_megapixels == 0.01
    assert FBCLIPProcessor().max_megapixels == 200
    with pytest.raises(ValueError, match="`max_megapixels` is 0, but must be above 0"):
        FBCLIPProcessor(max_megapixels=0)


def test_no_warning_of_pillow_reaches_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # it warns above, and refuses above the double
    for name, side in (("warned.png", 40), ("refused.png", 60)):
        Image.new("L", (side, side)).save(tmp_path / name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load_rgb_image(tmp_path / name).size == (side, side)


def test_long_names_are_shortened_in_messages() -> None:
    for name in ("n" * 240 + ".png", "n" * 400, "n/" * 3000):
        with pytest.raises(ValueError, match=r"^.{80}….{80}: (no such file|cannot be read \(File name too long\))\.$"):
            load_rgb_image(f"/{name}", name="image")
    with pytest.raises(ValueError, match=r"^a\\nb\\x85ü\.png: no such file\.$"):
        load_rgb_image("a\nb\x85ü.png")
    assert shortened("n" * 160) == "n" * 160
    assert shortened("a" * 100 + "b" * 100) == "a" * 80 + "…" + "b" * 80


def test_heic_is_read() -> None:
    file = BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 30, 40))).save(file, quality=95)
    pixels = np.asarray(load_rgb_image(file.getvalue())).astype(int)
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels - (200, 30, 40)).max() <= 3


def test_a_missing_library_for_heic_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r'pillow_heif: pip install "modeling-fbclip\[heif\]"\.$'):
        load_rgb_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200)
