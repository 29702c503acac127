"""`train` makes the same three steps as the released code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as PILImage

from conftest import GoldenCase, in_official_names
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.training import FBCLIPTrainingArguments, train
from modeling_fbclip.training.log import read_log


class GoldenProcessor(FBCLIPProcessor):
    """Returns the golden case's tensors. The pixels of an image are the number of its tensor, as is a mask's width."""

    case: GoldenCase

    def __call__(self, images=None, masks=None, **_):
        if images is not None:
            return {
                "pixel_values": self.case.forward["pixel_values"][
                    [int(np.asarray(image)[0, 0, 0]) for image in images]
                ]
            }
        numbers = [mask.shape[1] - 1 for mask in masks]
        return {"mask_labels": self.case.forward["masks"][numbers, 0]}


def picture(number: int) -> PILImage.Image:
    return PILImage.fromarray(np.full((2, 1 + number), number, dtype=np.uint8))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_train_makes_the_released_training_steps(golden_case: GoldenCase, tmp_path: Path, accumulation: int) -> None:
    model = FBCLIPModel.from_official_checkpoint(
        golden_case.checkpoint_path, clip=golden_case.clip_folder, **golden_case.config_overrides
    )
    processor = GoldenProcessor.from_config(model.config)
    processor.case = golden_case
    labels = golden_case.forward["labels"].tolist()
    rows = {"image": list(map(picture, range(len(labels)))), "mask": list(map(picture, range(len(labels))))}
    dataset = Dataset.from_dict(
        rows | {"label": labels}, features=Features({"image": Image(), "mask": Image(), "label": Value("int64")})
    )
    args = FBCLIPTrainingArguments(
        tmp_path / "out",
        epochs=golden_case.meta["steps"],
        batch_size=len(labels),
        learning_rate=golden_case.meta["learning_rate"],
        adam_betas=tuple(golden_case.meta["betas"]),
        gradient_accumulation_steps=accumulation,
    )
    trained = train(model, processor, dataset, args)

    for step, line in enumerate(read_log(tmp_path / "out")):
        golden_case.assert_losses_agree(step, {name: torch.tensor(value) for name, value in line.items()})
    assert step + 1 == golden_case.meta["steps"]
    golden_case.assert_trained_parameters_agree(
        in_official_names({name: w for name, w in trained.named_parameters() if w.requires_grad})
    )
    with torch.no_grad():
        golden_case.assert_trained_outputs_agree(trained(golden_case.forward["pixel_values"]))
