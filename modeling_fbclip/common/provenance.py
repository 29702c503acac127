"""The record of how a model came about: the files beside its weights that hold it, read and copied."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modeling_fbclip.common.json_files import read_record
from modeling_fbclip.common.messages import one_line

if TYPE_CHECKING:
    from modeling_fbclip.modeling_fbclip import FBCLIPModel

logger = logging.getLogger(__name__)

# {"image_digests": ["…", …], …}, written by `fbclip train`. Each image trained on has a digest.
TRAINING_RECORD = "training_record.json"
# As that, written by `fbclip calibrate`, of the images that the thresholds were set on.
CALIBRATION_RECORD = "calibration_record.json"
# In the record of a model whose base's record could not be looked up: why not.
UNKNOWN_BEFORE = "earlier_images_unknown"
# {"file": "…", "sha256": "…", "trained_on": "mvtec-ad" or null}, written by `fbclip convert`.
CONVERSION_RECORD = "conversion_record.json"
RECORDS = (TRAINING_RECORD, CONVERSION_RECORD, "recipe.json", CALIBRATION_RECORD)
WEIGHTS = "model.safetensors"


def recorded_images(model: "FBCLIPModel", name: str = TRAINING_RECORD) -> frozenset[str] | str | None:
    r"""
    Digests of the images that a model was trained on, from the record in the place that it was loaded from.

    Args:
        model ([`FBCLIPModel`]): The model.
        name (`str`): The record's name; `CALIBRATION_RECORD` for the images that its thresholds were set on.

    Returns:
        `frozenset[str]`; `None` if there is no record or the model was made in memory; the reason, which is logged as
        a warning too, if the Hub cannot be asked for the record.

    Raises:
        `ValueError`: The record is damaged.
    """
    try:
        file = find_beside(model, name)
    except OSError as error:
        work = "trained" if name == TRAINING_RECORD else "calibrated"
        logger.warning("It is unknown which images the model was %s on. %s", work, error)
        return str(error)
    if file is None:
        return None
    record = read_record(file)
    try:
        if UNKNOWN_BEFORE in record:
            logger.warning("It is unknown which images the model was trained on earlier. %s", record[UNKNOWN_BEFORE])
        return frozenset(record["image_digests"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: has no digests of images ({error}); remove it or make it again.") from error


def trained_on(model: "FBCLIPModel") -> str | None:
    r"""
    The short name of the data set that a converted model's authors trained it on, from the record of its conversion.

    Raises:
        `ValueError`: The record is damaged.
    """
    try:
        file = find_beside(model, CONVERSION_RECORD)
    except OSError as error:
        logger.warning("It is unknown which data set the model was trained on. %s", error)
        return None
    if file is None:
        return None
    try:
        return read_record(file)["trained_on"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: no record of a conversion ({error}); remove it or convert again.") from error


def copy_records(model: "FBCLIPModel", folder: Path, names: Sequence[str] = RECORDS) -> None:
    """Copies a model's records from the place that it was loaded from. Warns if the Hub cannot be asked for one."""
    for name in names:
        try:
            file = find_beside(model, name)
        except OSError as error:
            logger.warning("The record is not copied. %s", error)
            continue
        if file is not None:
            shutil.copyfile(file, folder / name)


def copy_weights(model: "FBCLIPModel", folder: Path) -> bool:
    """Copies the files of a model's weights, bit for bit. Whether all are there: a model may be made in memory."""
    for first in (WEIGHTS, f"{WEIGHTS}.index.json"):
        try:
            file = find_beside(model, first)
        except OSError:  # the Hub cannot be asked; the local copy has one of the two
            continue
        if file is not None:
            parts = [] if first == WEIGHTS else sorted(set(read_record(file)["weight_map"].values()))
            for name in (first, *parts):
                found = find_beside(model, name)
                if found is None:
                    return False
                shutil.copyfile(found, folder / name)
            return True
    return False


def find_beside(model: "FBCLIPModel", file_name: str) -> Path | None:
    """A file from the folder or the Hub repository of a model, if it is there. OSError if the Hub cannot be asked."""
    loaded_from = getattr(model, "loaded_from", None)  # older code on the Hub does not have it
    if loaded_from is None:
        return None
    where = dict(loaded_from)
    name = where.pop("name")
    if Path(name).is_dir():
        file = Path(name, where.get("subfolder") or "", file_name)
        return file if file.is_file() else None

    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        return Path(hf_hub_download(name, file_name, **where))
    except RemoteEntryNotFoundError:
        return None
    except Exception as error:  # errors of the HTTP library come through
        raise OSError(f"{name}: {file_name} cannot be looked up: {one_line(error)}") from error
