"""A model's folder that remembers good images."""

from collections.abc import Callable
from pathlib import Path

from modeling_fbclip import FBCLIPModel, FBCLIPReferences
from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.provenance import CALIBRATION_RECORD, RECORDS, copy_records, copy_weights
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.thresholds_fbclip import BORDER


def remember_images(
    detector: Detector, paths: list[str], names: list[str], add: bool, folder: Path, on_image: Callable[[], object]
) -> FBCLIPReferences:
    """
    Saves a model with references and the thresholds that they set.

    Args:
        detector: has the model and the processor; with `add`, the references that grow.
        paths, names: of the good images.
        add: whether the folder is that of the model, which remembers images already.
        folder: where to.
        on_image: called after each image.

    Raises:
        OSError, ValueError: if an image cannot be read or is known already, or a file cannot be written.
    """
    model, processor = detector.model, detector.processor
    if add and detector.references is not None:
        references = detector.references
        references.add(paths, names, model, processor, on_image)
    else:
        references = FBCLIPReferences.from_images(model, processor, paths, names, on_image=on_image)
    processor.threshold = processor.pixel_threshold = BORDER
    processor.category_thresholds, processor.thresholds_with_references = None, True
    processor.other_thresholds = processor.thresholds_mode = None  # the border holds in every mode
    with written_aside(folder) as aside:
        aside.mkdir()
        if not add:
            save_unchanged(model, aside)
            copy_records(model, aside, [name for name in RECORDS if name != CALIBRATION_RECORD])
        processor.save_pretrained(aside)
        references.save_pretrained(aside)
    return references


def save_unchanged(model: FBCLIPModel, folder: Path) -> None:
    """Saves a model, whose weights are copied bit for bit if they lie in files."""
    # Configuration and code come first: saving removes other files of weights.
    model.save_pretrained(folder, include_clip=model.config.includes_clip, state_dict={})
    if not copy_weights(model, folder):
        model.save_pretrained(folder)
