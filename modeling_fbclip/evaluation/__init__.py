"""Metrics of a model on a labelled data set, and calibrated thresholds."""

from modeling_fbclip.evaluation.calibrate import Calibration, calibrate, calibrate_dataset
from modeling_fbclip.evaluation.calibrated import save_calibrated
from modeling_fbclip.evaluation.evaluate import evaluate
from modeling_fbclip.evaluation.metrics import compute_metrics

__all__ = ["Calibration", "calibrate", "calibrate_dataset", "compute_metrics", "evaluate", "save_calibrated"]
