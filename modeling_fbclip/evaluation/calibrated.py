"""A calibrated model as a folder: the model as it is, the processor, and the record of its thresholds."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.provenance import CALIBRATION_RECORD, copy_records
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.remembering import save_unchanged


def save_calibrated(
    detector: Detector, digests: Collection[str], folder: Path, data: dict[str, Any], in_place: bool
) -> None:
    r"""
    Saves a model whose thresholds were set. Its weights are copied bit for bit, its records too.

    Args:
        detector ([`Detector`]): The model with its processor.
        digests (`Collection[str]`): Of the images that the thresholds were set on.
        folder (`Path`): Where to.
        data (`dict`): What the record says of the images, as JSON values.
        in_place (`bool`): Whether the folder is the model's own, so that only processor and record are written.

    Raises:
        `OSError`: A file cannot be read or written.
    """
    record = {"data": data, "score": detector.processor.score, "image_digests": sorted(digests)}
    with written_aside(folder) as aside:
        aside.mkdir()
        if not in_place:
            save_unchanged(detector.model, aside)
            copy_records(detector.model, aside)
            if detector.references is not None:
                detector.references.save_pretrained(aside)
        detector.processor.save_pretrained(aside)
        (aside / CALIBRATION_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
