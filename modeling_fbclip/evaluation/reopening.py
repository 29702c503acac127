"""An image of an evaluation read again, to be shown."""

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from PIL import Image

from modeling_fbclip.data.decoding import open_image, read_truth, undecoded
from modeling_fbclip.evaluation.predict import Prediction
from modeling_fbclip.maps_fbclip import resize_maps
from modeling_fbclip.processing_fbclip import FBCLIPProcessor


def open_result(
    rows: Dataset, prediction: Prediction, processor: FBCLIPProcessor
) -> tuple[Image.Image, npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]:
    """The image of a prediction, its map and where it is truly anomalous, all of its own size; `None` if unknown."""
    row = undecoded(rows)[prediction.row]
    picture = processor.read_image(open_image(row["image"], prediction.path), prediction.path)
    anomaly_map = resize_maps(torch.from_numpy(prediction.anomaly_map)[None], (picture.height, picture.width))[0]
    mask = read_truth(row, prediction.row, processor.max_megapixels)
    return picture, anomaly_map.numpy(), None if mask is None else mask.pixels == 1
