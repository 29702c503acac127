"""DICOM and NIfTI pictures, with small files made here."""

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSNearLossless

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.images_fbclip import load_rgb_image, undeclared_maximum
from modeling_fbclip.masks_fbclip import load_mask

GREY = np.random.default_rng(0).integers(3, 235, (20, 30)).astype(np.uint8)


def dicom(values: np.ndarray, **elements: Any) -> bytes:
    """A DICOM file of one frame `(height, width)`, or of many, with some elements set."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * values.itemsize
    data.PixelRepresentation = int(values.dtype.kind == "i")
    if values.ndim == 3:
        data.NumberOfFrames = len(values)
    for name, value in elements.items():
        setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    data.PixelData = values.tobytes()
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def nifti(path: Path, volume: np.ndarray, directions: tuple[int, int, int] = (1, 1, 1), **header: float) -> Path:
    image = nibabel.Nifti1Image(volume, np.diag([*directions, 1]))
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def grey(source: object, white_level: float | None = None) -> np.ndarray:
    return np.asarray(load_rgb_image(source, white_level=white_level))[:, :, 0].astype(int)


HOUNSFIELD = GREY.astype(np.int16) * 4  # stored; 1024 above Hounsfield units
# A window of 400 around 40 has, by the standard, black at -160 and white at 239.
WINDOWED = ((GREY * 4.0 - 1024 + 160).clip(0, 399) / 399) * 255


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (dicom(GREY), GREY),
        (dicom(GREY, PhotometricInterpretation="MONOCHROME1"), 255 - GREY),
        (dicom(GREY.astype(np.uint16) * 16, BitsStored=12), GREY * 16.0 / 4095 * 255),
        (dicom(GREY.astype(np.uint16) * 257), GREY),
        (
            dicom(HOUNSFIELD, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 300], WindowWidth=[400, 9]),
            WINDOWED,
        ),
        (dicom(np.stack([GREY, GREY // 2])), GREY),
    ],
    ids=["8-bits", "monochrome1", "12-bits", "16-bits", "window", "frames"],
)
def test_dicom_is_shown_as_it_says(data: bytes, expected: np.ndarray) -> None:
    assert np.abs(grey(data) - expected).max() <= 1


def test_dicom_colours() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    elements = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB"}
    data = dicom(colours, Rows=4, Columns=6, NumberOfFrames=1, **elements)
    assert np.array_equal(np.asarray(load_rgb_image(data)), colours)


def test_dicom_of_16_bits_without_a_window_takes_the_white_level() -> None:
    data = dicom(GREY.astype(np.uint16) * 16 + 7)
    assert undeclared_maximum(data) == int(GREY.max()) * 16 + 7
    assert np.abs(grey(data, 4095) - GREY).max() <= 1


def test_dicom_of_16_rescaled_bits_without_a_window_is_shown_between_percentiles() -> None:
    hounsfield = np.linspace(-1000, 1000, 600).reshape(20, 30)
    stored = np.rint(hounsfield).astype(np.int16)
    plain = grey(dicom(stored, RescaleSlope=1, RescaleIntercept=-24))
    assert np.abs(plain - (hounsfield + 980) / 1950 * 255).max() <= 5.5
    stored[3, 4] = 32767
    assert np.abs(grey(dicom(stored, RescaleSlope=1, RescaleIntercept=-24)) - plain).mean() < 1


def test_a_compression_that_needs_another_library_gets_one_line(tmp_path: Path) -> None:
    near_lossless = pydicom.dcmread(BytesIO(dicom(GREY)))
    near_lossless.file_meta.TransferSyntaxUID = JPEGLSNearLossless
    near_lossless.PixelData = pydicom.encaps.encapsulate([GREY.tobytes()])
    near_lossless.save_as(tmp_path / "scan.dcm")
    with pytest.raises(ValueError, match=r"scan\.dcm: Unable to decompress 'JPEG-LS Lossy [^\n]*\.$") as error:
        load_rgb_image(tmp_path / "scan.dcm")
    assert len(str(error.value)) < 330


def test_dicom_without_a_suffix_and_by_frame(tmp_path: Path) -> None:
    for name in ("IM000001", "scan.dcm", "scan.DICOM"):
        path = tmp_path / name
        path.write_bytes(dicom(np.stack([GREY, GREY // 2, GREY // 3])))
        assert np.array_equal(grey(path), GREY)
        assert np.array_equal(grey(f"{path}#2"), GREY // 3)
        with pytest.raises(ValueError, match=rf"{name}#3: there is no frame 3: it has 3, numbered from 0\.$"):
            grey(f"{path}#3")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_gives_the_middle_slice_or_the_chosen_one(tmp_path: Path, suffix: str) -> None:
    volume = np.stack([GREY.T, GREY.T // 2, GREY.T // 3], axis=2)  # to the right, to the front, up
    path = nifti(tmp_path / f"brain{suffix}", volume, cal_min=0, cal_max=255)
    assert np.array_equal(grey(path), GREY[::-1] // 2)
    assert np.array_equal(grey(f"{path}#0"), GREY[::-1])
    assert np.array_equal(grey(path.read_bytes()), GREY[::-1] // 2)
    flipped = nifti(tmp_path / f"flipped{suffix}", volume[::-1, ::-1], (-1, -1, 1), cal_max=255)
    assert np.array_equal(grey(flipped), GREY[::-1] // 2)
    with pytest.raises(ValueError, match=r"#3: there is no slice 3: it has 3, numbered from 0\.$"):
        grey(f"{path}#3")


def test_nifti_without_a_range_is_shown_between_percentiles_not_by_one_voxel(tmp_path: Path) -> None:
    volume = np.repeat(np.linspace(0, 1000, 4000).reshape(40, 100, 1), 3, axis=2).astype(np.float32)
    plain = grey(nifti(tmp_path / "plain.nii", volume))
    volume[5, 7, 1] = 1e6
    assert np.abs(grey(nifti(tmp_path / "outlier.nii", volume)) - plain).mean() < 1
    assert plain.min() == 0
    assert plain.max() == 255


def test_a_mask_in_nifti_keeps_its_single_voxel(tmp_path: Path) -> None:
    volume = np.zeros((20, 30, 5), np.uint8)
    volume[3, 4, 2] = 1
    assert np.argwhere(load_mask(nifti(tmp_path / "mask.nii.gz", volume))).tolist() == [[29 - 4, 3]]


def test_a_damaged_or_large_medical_file_gets_one_line(tmp_path: Path) -> None:
    text, cut = tmp_path / "text.dcm", tmp_path / "cut.nii"
    text.write_bytes(b"hello" * 100)
    cut.write_bytes(nifti(tmp_path / "whole.nii", np.zeros((20, 30, 3), np.uint8)).read_bytes()[:400])
    for source in (text, cut, dicom(GREY)[:-200]):
        with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
            load_rgb_image(source)
        assert len(str(error.value)) < 400
    for source in (tmp_path / "whole.nii", dicom(GREY)):
        with pytest.raises(ValueError, match=r"0\.00(06|18) megapixels are more than the limit of 0\.0001"):
            FBCLIPProcessor(image_size=8, max_megapixels=0.0001)(images=source)


@pytest.mark.parametrize(("library", "name"), [("pydicom", "scan.dcm"), ("nibabel", "scan.nii")])
def test_a_missing_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, name: str
) -> None:
    (tmp_path / name).write_bytes(dicom(GREY))
    if library == "nibabel":
        nifti(tmp_path / name, np.zeros((2, 2, 2), np.uint8))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=rf'{name}: reading it needs the library {library}: pip install "modeling-fb'):
        load_rgb_image(tmp_path / name)
