"""The model agrees with the authors' released code on the golden cases, and with the reference at random sizes."""

import pytest
import reference
import torch
from hypothesis import given
from torch import Tensor

from conftest import SHAPES, GoldenCase, Shape, in_official_names, make_tiny_model, quick
from modeling_fbclip import FBCLIPModel, FBCLIPOutput


def load_official(case: GoldenCase) -> FBCLIPModel:
    """The model, with the prompts of the checkpoint."""
    overrides = {name: case.config_overrides[name] for name in ("image_size", "feature_layers")}
    return FBCLIPModel.from_official_checkpoint(case.checkpoint_path, clip=case.clip_folder, **overrides).eval()


def stages_of(output: FBCLIPOutput) -> dict[str, Tensor]:
    return output.stages | {
        "text_features": output.text_embeds,
        "image_scores": output.image_scores,
        "anomaly_maps": output.anomaly_maps,
    }


def losses_of(output: FBCLIPOutput) -> dict[str, Tensor]:
    return {
        "image_focal": output.image_focal_loss,
        "mask_focal": output.mask_focal_loss,
        "dice": output.dice_loss,
        "consistency": output.consistency_loss,
        "loss": output.loss,
    }


def train_step(model: FBCLIPModel, case: GoldenCase) -> FBCLIPOutput:
    return model(case.forward["pixel_values"], labels=case.forward["labels"], mask_labels=case.forward["masks"][:, 0])


def test_prompt_ids_are_those_of_the_released_code(golden_case: GoldenCase) -> None:
    config = load_official(golden_case).config
    assert config.prompt_input_ids == golden_case.forward["prompt_input_ids"].tolist()
    assert config.prompt_length == golden_case.meta["n_ctx"]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_model_agrees_with_released_code_at_every_stage(golden_case: GoldenCase, attention: str) -> None:
    model = load_official(golden_case)
    model.set_attn_implementation(attention)
    with torch.no_grad():
        stages = stages_of(model(golden_case.forward["pixel_values"], output_stages=True))
    assert {name.split(".")[-1] for name in stages} == golden_case.stages
    for stage in golden_case.stages:
        golden_case.assert_stage_agrees(stage, stages)


def test_stages_are_returned_only_on_request(golden_case: GoldenCase) -> None:
    model = load_official(golden_case)
    with torch.no_grad():
        output = model(golden_case.forward["pixel_values"])
    assert output.stages is None
    golden_case.assert_stage_agrees("anomaly_maps", {"anomaly_maps": output.anomaly_maps})
    golden_case.assert_stage_agrees("image_scores", {"image_scores": output.image_scores})


def test_model_agrees_with_released_losses_gradients_and_three_adam_steps(golden_case: GoldenCase) -> None:
    model = load_official(golden_case)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = golden_case.adam(list(trained.values()))
    for step in range(golden_case.meta["steps"]):
        output = train_step(model, golden_case)
        golden_case.assert_losses_agree(step, losses_of(output))
        optimizer.zero_grad()
        output.loss.backward()
        if step == 0:
            gradients = {name: parameter.grad for name, parameter in trained.items()}
            golden_case.assert_gradients_agree(in_official_names(gradients))
        optimizer.step()
    golden_case.assert_trained_parameters_agree(in_official_names(trained))
    with torch.no_grad():
        golden_case.assert_trained_outputs_agree(
            stages_of(model(golden_case.forward["pixel_values"], output_stages=True))
        )


def test_clip_gets_no_gradient_and_does_not_change(golden_case: GoldenCase) -> None:
    model = load_official(golden_case)
    train_step(model, golden_case).loss.backward()
    assert all(parameter.grad is None for parameter in model.clip.parameters())
    for name, parameter in golden_case.load_clip().named_parameters():
        torch.testing.assert_close(model.clip.get_parameter(name), parameter, rtol=0, atol=0)


def test_labels_alone_leave_the_mask_losses_zero(golden_case: GoldenCase) -> None:
    with torch.no_grad():
        output = load_official(golden_case)(golden_case.forward["pixel_values"], labels=golden_case.forward["labels"])
    expected = golden_case.training["step0.image_focal"] + golden_case.training["step0.consistency"]
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-5)
    assert output.mask_focal_loss.item() == output.dice_loss.item() == 0


TINY_MODEL = make_tiny_model().double()  # read only


def reference_stages(pixel_values: Tensor, grid: tuple[int, int]) -> dict[str, Tensor]:
    model, clip, config = TINY_MODEL, TINY_MODEL.clip, TINY_MODEL.config
    parameters = in_official_names(dict(model.named_parameters()))
    text_features = reference.text_features(clip, parameters, torch.tensor(config.prompt_input_ids), config)
    layer_tokens = reference.vision_tokens(clip, pixel_values, config.feature_layers)
    stages = reference.head_stages(
        layer_tokens, text_features, grid, parameters, clip.visual_projection.weight, config
    )
    consistency = reference.consistency_loss(stages["last_view_projected"], text_features, config)
    return stages | {"text_features": text_features, "consistency_loss": consistency}


@quick
@given(shape=SHAPES)
def test_model_and_its_gradients_equal_the_reference_at_any_image_size(shape: Shape) -> None:
    generator = torch.Generator().manual_seed(shape.seed)
    size = (8 * shape.height, 8 * shape.width)
    pixel_values = torch.randn(shape.batch_size, 3, *size, generator=generator, dtype=torch.float64)
    masks = (torch.rand(shape.batch_size, *size, generator=generator) > 0.7).double()
    labels = torch.arange(shape.batch_size) % 2

    output = TINY_MODEL(pixel_values, labels=labels, mask_labels=masks, output_stages=True)
    expected = reference_stages(pixel_values, (shape.height, shape.width))
    actual = stages_of(output)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=0, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")

    losses = reference.losses(
        expected["image_scores"],
        expected["anomaly_maps"],
        expected["consistency_loss"],
        labels,
        masks,
        TINY_MODEL.config,
    )
    torch.testing.assert_close(losses_of(output), losses, rtol=0, atol=1e-9)
    trained = [parameter for parameter in TINY_MODEL.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(output.loss, trained)
    torch.testing.assert_close(gradients, torch.autograd.grad(losses["loss"], trained), rtol=1e-7, atol=1e-9)
