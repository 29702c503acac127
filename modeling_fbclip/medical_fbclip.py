"""Pictures of hospitals: DICOM by pydicom and NIfTI by nibabel, which are imported when such a picture is read."""

import gzip
from typing import Any, BinaryIO

import numpy as np

from .deep_fbclip import Deep
from .limits_fbclip import library, require_page, require_size

DICOM_SUFFIXES = (".dcm", ".dicom")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
MEDICAL_SUFFIXES = (*DICOM_SUFFIXES, *NIFTI_SUFFIXES)
DICOM_MARK = slice(128, 132), b"DICM"
NIFTI_MARKS = (slice(344, 348), (b"n+1\0", b"n+2\0")), (slice(4, 8), (b"n+2\0",))
GZIP_MARK = b"\x1f\x8b"
SHOWN = 1, 99  # percentiles that are black and white where a file declares neither, as nibabel's viewer has it


def read_medical(stream: BinaryIO, path: str, page: int | None, max_pixels: float) -> Deep | None:
    r"""
    Reads a DICOM or NIfTI picture; `None` if it is of another kind.

    Of a DICOM file, the values are rescaled and windowed as it says. Without a window, the stored bits are the range,
    or percentiles of the frame where these are all 16 and signed or rescaled. Of a NIfTI file, a slice along the body
    is read, with the patient's front at the top and the right hand at the right. It is shown from `cal_min` to
    `cal_max`, or between percentiles of the volume.

    Args:
        stream: the file.
        path: its name, whose suffix counts where the content does not tell.
        page: the number of a frame or slice, from 0. Defaults to the first frame, or the slice in the middle.
        max_pixels: a larger frame or volume is refused before it is decoded.

    Raises:
        ValueError: the library is missing, the page does not exist, or the picture is too large.
    """
    stream.seek(0)
    start = stream.read(352)
    stream.seek(0)
    name = path.lower()
    if start[DICOM_MARK[0]] == DICOM_MARK[1] or name.endswith(DICOM_SUFFIXES):
        return _read_dicom(stream, page, max_pixels)
    if start[:2] == GZIP_MARK:
        stream = gzip.GzipFile(fileobj=stream)  # type: ignore[assignment]
        start = stream.read(352)
        stream.seek(0)
    if name.endswith(NIFTI_SUFFIXES) or any(start[place] in marks for place, marks in NIFTI_MARKS):
        return _read_nifti(stream, start, page, max_pixels)
    return None


def _read_dicom(stream: BinaryIO, page: int | None, max_pixels: float) -> Deep:
    dicom, pixels = library("pydicom", "medical"), library("pydicom.pixels", "medical")
    data = dicom.dcmread(stream, force=True)
    if not ("PixelData" in data or "FloatPixelData" in data or "DoubleFloatPixelData" in data):
        raise ValueError("the DICOM file holds no picture")
    require_size(int(data.Rows) * int(data.Columns), max_pixels)
    require_page(page or 0, int(data.get("NumberOfFrames") or 1), "frame")
    try:
        values = pixels.pixel_array(data, index=page or 0)  # YBR colours become RGB
    except RuntimeError as error:  # a compression that pydicom leaves to other libraries
        raise ValueError(str(error)) from error
    if data.PhotometricInterpretation == "PALETTE COLOR":
        values = pixels.apply_color_lut(values, data)[:, :, :3]
        return Deep(values, np.iinfo(values.dtype).max)
    if values.ndim == 3:
        return Deep(values, 2 ** int(data.BitsStored) - 1)
    return _grey_of_dicom(values, data, pixels)


def _grey_of_dicom(values: np.ndarray, data: Any, pixels: Any) -> Deep:
    """A frame's stored values, rescaled and windowed, and what is black and white in them."""
    inverted = data.PhotometricInterpretation == "MONOCHROME1"
    has_window = "WindowWidth" in data and "WindowCenter" in data
    has_table = "VOILUTSequence" in data and not has_window
    is_scaled = "RescaleSlope" in data or "ModalityLUTSequence" in data
    declares_its_type_alone = data.get("BitsStored", 32) >= 16 and not (has_window or has_table)
    if declares_its_type_alone and not is_scaled and values.dtype == np.uint16:
        return Deep(values, inverted=inverted)
    values = pixels.apply_modality_lut(values, data)
    if declares_its_type_alone:
        black, white = _seen_range(values)
        return Deep(values, white, black, inverted)
    values = pixels.apply_voi_lut(values, data, prefer_lut=False)
    black, white = (0, 2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1) if has_table else _stored_range(data)
    return Deep(values, white, black, inverted)


def _stored_range(data: Any) -> tuple[float, float]:
    """The range of what a DICOM file's stored values become by its modality's table or scale, as pydicom has it."""
    if "ModalityLUTSequence" in data:
        return 0, 2 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(data.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def _seen_range(values: np.ndarray) -> tuple[float, float]:
    """Black and white where nothing declares them: percentiles, the upper one of what is above black."""
    black = float(np.percentile(values, SHOWN[0]))
    above = values[values > black]
    return black, float(np.percentile(above, SHOWN[1])) if above.size else black + 1


def _read_nifti(stream: BinaryIO, start: bytes, page: int | None, max_pixels: float) -> Deep:
    nibabel = library("nibabel", "medical")
    is_second = start[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # the header's length, 540
    image = (nibabel.Nifti2Image if is_second else nibabel.Nifti1Image).from_stream(stream)
    shape = image.shape + (1,) * (3 - len(image.shape))
    require_size(float(np.prod(shape[:3], dtype=float)), max_pixels)
    volume = np.asanyarray(image.dataobj[(..., *(0,) * (len(shape) - 3))]).reshape(shape[:3])
    if volume.dtype.kind not in "biuf":
        raise ValueError(f"the NIfTI file holds {volume.dtype} values, but a picture holds numbers")
    volume = np.nan_to_num(volume, posinf=0, neginf=0)
    axes, signs = nibabel.io_orientation(image.affine).T
    axes = [int(axis) for axis in np.nan_to_num(axes, nan=2)]
    along = axes.index(2) if sorted(axes) == [0, 1, 2] else 2  # of the body, as far as the file tells
    page = shape[along] // 2 if page is None else page
    require_page(page, shape[along], "slice")
    values = volume.take(page, axis=along)
    rest = [axis for axis in range(3) if axis != along]
    if axes[rest[0]] > axes[rest[1]]:
        values, rest = values.T, rest[::-1]
    values = values[:: -1 if signs[rest[0]] < 0 else 1, :: -1 if signs[rest[1]] < 0 else 1]
    black, white = float(image.header["cal_min"]), float(image.header["cal_max"])
    if white <= black:
        black, white = _seen_range(volume)
    return Deep(np.rot90(values), white, black)
