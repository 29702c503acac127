"""Data sets for training and evaluation. The `datasets` library is imported only when a data set is loaded."""

from modeling_fbclip.data.check import check_anomaly_dataset
from modeling_fbclip.data.loading import load_anomaly_dataset
from modeling_fbclip.data.registry import KNOWN_DATASETS, identify
from modeling_fbclip.data.splits import load_fitting_split

__all__ = [
    "KNOWN_DATASETS",
    "check_anomaly_dataset",
    "identify",
    "load_anomaly_dataset",
    "load_fitting_split",
]
