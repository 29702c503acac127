"""The end of a run: score and thresholds of the model that was chosen, and its folder with the record."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.provenance import CALIBRATION_RECORD, TRAINING_RECORD, copy_records, find_beside
from modeling_fbclip.evaluation.calibrate import calibrate_dataset
from modeling_fbclip.evaluation.evaluate import evaluate
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.references_fbclip import SETTINGS_NAME, WEIGHTS_NAME, FBCLIPReferences
from modeling_fbclip.training.arguments import LOSS_ARGUMENTS, FBCLIPTrainingArguments
from modeling_fbclip.training.checkpoints import Checkpoints, Progress
from modeling_fbclip.training.disk import writing
from modeling_fbclip.training.judging import METRICS, TRAINED_SCORE, Candidate
from modeling_fbclip.training.log import read_log
from modeling_fbclip.training.record import model_title, training_record
from modeling_fbclip.training.report import write_training_report
from modeling_fbclip.training.setup import TrainingData

logger = logging.getLogger(__name__)

UNCALIBRATED = 0.5
TARGET_FPR = 0.01  # of new good images, where enough of them are held out
REFERENCES = (WEIGHTS_NAME, SETTINGS_NAME)
FEWEST_GOOD = 5  # held-out good images that thresholds are set on


def measure(
    model: FBCLIPModel, processor: FBCLIPProcessor, data: TrainingData, references: FBCLIPReferences | None = None
) -> dict[str, float | None]:
    """The metrics on the held-out images, else on all."""
    rows = data.rows.select(data.held_out) if data.held_out else data.rows
    found = evaluate(model, processor, rows, references=references)["mean"]
    return {name: found[name] for name in METRICS}


def compare_references(
    model: FBCLIPModel, processor: FBCLIPProcessor, data: TrainingData, references: FBCLIPReferences
) -> dict[str, Any] | None:
    """What references bring before the training; `None` where images have one label, so that metrics are undefined."""
    if len(set(data.rows["label"])) < 2:
        return None
    return {
        "measured on": f"{len(data.held_out)} held-out images" if data.held_out else "all images, trained ones too",
        "with": measure(model, processor, data, references),
        "without": measure(model, processor, data),
    }


def describe(
    model: FBCLIPModel,
    data: TrainingData,
    args: FBCLIPTrainingArguments,
    accelerator: Accelerator,
    progress: Progress,
    best: Candidate,
    source: str | None,
    trained_before: frozenset[str] | str | None,
) -> dict[str, Any]:
    """The record of a run, but for what is found out of the model that was chosen."""
    arguments = args.record() | {name: getattr(model.config, name) for name in LOSS_ARGUMENTS}
    arguments["model"] = model_title(model.name_or_path)
    arguments["cache_dtype"] = None if data.cache is None else str(data.cache.dtype).removeprefix("torch.")
    result = {"steps": progress.step, "checkpoint": Checkpoints.name(best.step), "epoch": best.epoch}
    record = training_record(data.rows, data.digests, arguments, result, accelerator, source, trained_before)
    record["origins"] = args.origins
    record["data"]["held_out"] = len(data.held_out)
    record["epochs"] = [
        asdict(each) | {"value": each.value, "is_best": each == best} for each in progress.candidates if data.held_out
    ]
    return record


def save_result(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    data: TrainingData,
    args: FBCLIPTrainingArguments,
    best: Candidate,
    record: dict[str, Any],
    references: FBCLIPReferences | None,
) -> None:
    """
    Sets score and thresholds, and saves the model as a folder for `from_pretrained`, with its records. `references`
    fit the model before training only, and keep its thresholds.
    """
    result, folder = record["result"], Path(args.output_dir)
    is_start = not best.step
    # So that it is known later whether they were set again.
    result |= {"threshold": processor.threshold, "pixel_threshold": processor.pixel_threshold}
    if not is_start:
        processor.other_thresholds = processor.category_thresholds = None  # of the weights before
        if not data.use_masks:
            take_trained_score(processor)
    result["score"] = processor.score
    keeps_own = is_start and (references is not None or "stopped" in result or _is_calibrated(model))
    calibration = None if keeps_own else set_thresholds(model, processor, data, args.batch_size)
    if calibration is not None:
        result["thresholds"] = calibration["data"]
    with writing(folder), written_aside(folder) as aside:
        model.save_pretrained(aside)
        processor.save_pretrained(aside)
        if references is not None and is_start:
            references.save_pretrained(aside)
        elif references is not None:
            logger.warning("The references are not for the trained weights; make them again by fbclip remember.")
        if calibration is not None:
            _write_json(aside / CALIBRATION_RECORD, calibration)
        elif keeps_own:
            copy_records(model, aside, [CALIBRATION_RECORD])
        _write_json(aside / TRAINING_RECORD, record)
        for name in (CALIBRATION_RECORD, *REFERENCES):  # of an earlier end of this run
            if not (aside / name).exists():
                (folder / name).unlink(missing_ok=True)
    with writing(folder):
        write_training_report(folder, record, read_log(folder))


def take_trained_score(processor: FBCLIPProcessor) -> None:
    """Sets the processor's kind of score. Thresholds of another kind mean nothing for it, so they are set back."""
    before = processor.score
    if before == TRAINED_SCORE:
        return
    processor.score, processor.threshold, processor.thresholds_mode = TRAINED_SCORE, UNCALIBRATED, None
    logger.warning("Without masks, the score of an image is now %s in place of %s.", TRAINED_SCORE, before)


def set_thresholds(
    model: FBCLIPModel, processor: FBCLIPProcessor, data: TrainingData, batch_size: int
) -> dict[str, Any] | None:
    """
    Thresholds from the held-out good images, by split conformal prediction: of n of them, a new good image exceeds all
    with a probability of 1 / (n + 1). Returns the record, or `None` if there are too few or they set none.
    """
    labels = data.rows["label"]
    good = data.rows.select([index for index in data.held_out if labels[index] == 0])
    if len(good) < FEWEST_GOOD:
        if data.held_out:
            logger.warning("The thresholds are not set: that takes %d held-out good images.", FEWEST_GOOD)
        return None
    rate, digests = max(TARGET_FPR, 1 / (len(good) + 1)), set[str]()
    try:
        calibrate_dataset(model, processor, good, target_fpr=rate, batch_size=batch_size, digests=digests)
    except ValueError as error:
        logger.warning("The thresholds are not set. %s", error)
        return None
    processor.category_thresholds = None
    about = {"images": len(good), "target_fpr": rate}
    return {"data": about, "score": processor.score, "image_digests": sorted(digests)}


def _is_calibrated(model: FBCLIPModel) -> bool:
    """Whether its thresholds are its user's, or may be, where the Hub cannot be asked."""
    try:
        return find_beside(model, CALIBRATION_RECORD) is not None
    except OSError:
        return True


def _write_json(file: Path, record: dict[str, Any]) -> None:
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
