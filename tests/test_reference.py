"""The literal reference agrees with the golden numbers of the authors' released code."""

import numpy as np
import pytest
import reference
import torch
from torch import Tensor

from conftest import GoldenCase
from modeling_fbclip import FBCLIPConfig


class ReferenceRun:
    """The reference on one golden case, with its own parameters to train."""

    def __init__(self, case: GoldenCase) -> None:
        self.case = case
        self.clip = case.load_clip()
        self.config = FBCLIPConfig(clip_config=self.clip.config, **case.config_overrides)
        self.parameters = {name: value.requires_grad_() for name, value in case.parameters().items()}
        pixel_values, feature_layers = case.forward["pixel_values"], case.meta["feature_layers"]
        self.layer_tokens = reference.vision_tokens(self.clip, pixel_values, feature_layers)

    def stages(self) -> dict[str, Tensor]:
        ids = self.case.forward["prompt_input_ids"]
        text_features = reference.text_features(self.clip, self.parameters, ids, self.config)
        projection = self.clip.visual_projection.weight
        stages = reference.head_stages(
            self.layer_tokens, text_features, self.case.grid, self.parameters, projection, self.config
        )
        stages["prompt_embeds"] = reference.prompt_embeds(self.clip, self.parameters, ids)
        stages["text_features"] = text_features
        stages["consistency_loss"] = reference.consistency_loss(
            stages["last_view_projected"], text_features, self.config
        )
        return stages | {f"layer{index}.tokens": tokens for index, tokens in enumerate(self.layer_tokens)}

    def losses(self) -> dict[str, Tensor]:
        stages = self.stages()
        labels, masks = self.case.forward["labels"], self.case.forward["masks"][:, 0]
        return reference.losses(
            stages["image_scores"], stages["anomaly_maps"], stages["consistency_loss"], labels, masks, self.config
        )


def test_reference_agrees_with_released_code_at_every_stage(golden_case: GoldenCase) -> None:
    with torch.no_grad():
        stages = ReferenceRun(golden_case).stages()
    assert {key.split(".")[-1] for key in stages} == golden_case.stages
    for stage in golden_case.stages:
        golden_case.assert_stage_agrees(stage, stages)


def test_reference_agrees_with_released_losses_gradients_and_training(golden_case: GoldenCase) -> None:
    run = ReferenceRun(golden_case)
    optimizer = golden_case.adam(list(run.parameters.values()))
    for step in range(golden_case.meta["steps"]):
        losses = run.losses()
        golden_case.assert_losses_agree(step, losses)
        optimizer.zero_grad()
        losses["loss"].backward()
        if step == 0:
            golden_case.assert_gradients_agree({name: value.grad for name, value in run.parameters.items()})
        optimizer.step()
    golden_case.assert_trained_parameters_agree(run.parameters)
    golden_case.assert_trained_outputs_agree(run.stages())


def test_reference_head_gives_the_scores_and_maps_of_its_stages(golden_case: GoldenCase) -> None:
    run = ReferenceRun(golden_case)
    with torch.no_grad():
        image_scores, anomaly_maps = reference.reference_head(
            run.layer_tokens,
            golden_case.forward["text_features"],
            golden_case.grid,
            run.parameters,
            run.clip.visual_projection.weight,
            run.config,
        )
    golden_case.assert_stage_agrees("image_scores", {"image_scores": image_scores})
    golden_case.assert_stage_agrees("anomaly_maps", {"anomaly_maps": anomaly_maps})


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_box_filter_pads_as_numpy_reflects(length: int) -> None:
    x = torch.arange(length, dtype=torch.float64) ** 2
    padded = np.pad(x.numpy(), 2, mode="reflect")
    expected = [padded[i : i + 5].mean() for i in range(length)]
    assert reference.box_filter(x, side=5).tolist() == pytest.approx(expected, abs=1e-12)
